"""Arrow columns in and out: data files to tables, tables to NumPy arrays."""

from __future__ import annotations

import sys
from datetime import datetime
from importlib.abc import MetaPathFinder
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq


class _NoPandas(MetaPathFinder):
    """pyarrow imports pandas at its first conversion wherever pandas is installed: 0.6 s and 60 MB for
    nothing here. Only processes that run no code of the user's import this module."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname == "pandas":
            raise ModuleNotFoundError("the jobs do without pandas", name=fullname)


sys.meta_path.insert(0, _NoPandas())

TIMESTAMP = pa.timestamp("us", "UTC")


def data_files(folder: Path) -> list[Path]:
    """The Parquet and CSV files under `folder`, in order of their names."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".parquet", ".csv"))


def read_file(path: Path, text_columns: list[str]) -> pa.Table:
    """One Parquet or CSV file. `text_columns` are read as text from CSV, where `007` would become 7.

    Raises pa.ArrowInvalid or OSError for a file that cannot be read.
    """
    if path.suffix.lower() == ".parquet":
        return pq.ParquetFile(path).read()
    from pyarrow import csv

    options = csv.ConvertOptions(
        column_types={name: pa.string() for name in text_columns},
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    return csv.read_csv(path, convert_options=options)


def floats(column: pa.ChunkedArray) -> np.ndarray:
    """float64; null becomes NaN; booleans become 0 and 1."""
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    return column.cast(pa.float64(), safe=False).fill_null(float("nan")).to_numpy()


def codes(column: pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    """int64 codes into the returned categories (as text, in order of appearance); null is -1."""
    encoded = column.cast(pa.string()).combine_chunks().dictionary_encode()
    return encoded.indices.cast(pa.int64()).fill_null(-1).to_numpy(
        zero_copy_only=False
    ), encoded.dictionary.to_pylist()


def microseconds(column: pa.ChunkedArray) -> np.ndarray:
    """int64 microseconds since 1970 of a timestamp column without nulls."""
    return column.cast(TIMESTAMP).cast(pa.int64()).to_numpy()


def to_microseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)


def timestamps(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of timestamps, dates or ISO 8601 text as UTC microseconds; times without a zone are UTC.

    Raises pa.ArrowInvalid where a value is not a time, pa.ArrowNotImplementedError for other types.
    """
    if pa.types.is_timestamp(column.type):
        return (
            column.cast(TIMESTAMP)
            if column.type.tz
            else pc.assume_timezone(column.cast(pa.timestamp("us")), "UTC")
        )
    if pa.types.is_date(column.type):
        return pc.assume_timezone(column.cast(pa.timestamp("us")), "UTC")
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        zoned = pc.match_substring_regex(column, r"(Z|[+-]\d\d:?\d\d)$")
        if pc.all(zoned).as_py():
            return column.cast(TIMESTAMP)
        return pc.assume_timezone(column.cast(pa.timestamp("us")), "UTC")
    raise pa.ArrowNotImplementedError(f"{column.type} is not a time")
