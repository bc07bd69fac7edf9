"""Tables for the benchmarks: 13 columns of numbers, 7 of text (one with 50,000 categories), a time; a million
rows a file, the same every time.

The 50,000 are as frequent as Zipf's law has it (1 / rank), as postcodes and products are: a week has some
that the one before had not. Were all as frequent as each other, no category would be new or gone, which
spares Evidently most of its work on the column."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FOLDER = Path(__file__).parents[2] / ".cache" / "bench"
ROWS = 1_000_000
START = 19_675 * 86_400_000_000  # microseconds since 1970
WEEK = 7 * 86_400_000_000
CATEGORIES = (2, 3, 8, 50, 200, 1000, 50_000)


def files(count: int) -> list[Path]:
    """`count` Parquet files of a week each, made where they are not there yet."""
    paths = [_path(index) for index in range(count)]
    missing = [str(index) for index, path in enumerate(paths) if not path.is_file()]
    if missing:  # in a process of their own: the system counts a parent's peak memory as its children's
        command = [sys.executable, "-m", "tests.bench.data", *missing]
        subprocess.run(command, cwd=FOLDER.parents[1], check=True)
    return paths


def _path(index: int) -> Path:
    return FOLDER / f"week{index:02}.parquet"


def _write(index: int) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    part = _path(index).with_suffix(".part")
    pq.write_table(week(index), part)
    part.rename(_path(index))


def week(index: int, rows: int = ROWS) -> pa.Table:
    """One week: what it holds moves a little from one to the next."""
    rng = np.random.default_rng(index)
    columns: dict[str, pa.Array] = {
        "time": pa.array(
            START + index * WEEK + np.sort(rng.integers(0, WEEK, rows)), pa.timestamp("us", "UTC")
        )
    }
    for place in range(6):
        columns[f"normal{place}"] = pa.array(rng.normal(0.01 * place * index, 1 + place, rows))
    columns["lognormal"] = pa.array(rng.lognormal(size=rows))
    columns["gamma"] = pa.array(rng.gamma(2.0, 3.0, rows))
    columns["gaps"] = pa.array(rng.normal(size=rows), mask=rng.random(rows) < 0.05)
    columns["digit"] = pa.array(rng.integers(0, 10, rows))
    columns["poisson"] = pa.array(rng.poisson(30, rows))
    columns["wide"] = pa.array(rng.integers(0, 1_000_000, rows))
    columns["percent"] = pa.array(rng.integers(0, 100, rows), mask=rng.random(rows) < 0.02)
    for size in CATEGORIES:
        names = pa.array([f"category-{value}" for value in range(size)])
        codes = _codes(rng, size, rows)
        columns[f"text{size}"] = pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), names).cast(
            pa.string()
        )
    return pa.table(columns)


def _codes(rng: np.random.Generator, size: int, rows: int) -> np.ndarray:
    """int64[rows] of `size` categories."""
    if size == 2:
        return rng.integers(0, size, rows)
    if size < 50_000:
        return rng.zipf(1.5, rows) % size
    shares = (1 / np.arange(1, size + 1)).cumsum()
    return np.searchsorted(shares / shares[-1], rng.random(rows))


if __name__ == "__main__":
    for missing in sys.argv[1:]:
        _write(int(missing))
