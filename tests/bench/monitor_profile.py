"""Profiling: a million rows beside Evidently and whylogs, ten million beside reading and sorting them, memory
up to fifty million."""

from __future__ import annotations

import os
from functools import partial

from tests.bench import data
from tests.bench.environments import environment
from tests.bench.measure import in_turns, once, show

OURS = """
import sys
from pathlib import Path
from jobs.monitor.profile import Profile, profile
from jobs.monitor.scan import scan
from jobs.monitor.schema import Schema
mode, baseline, *files = sys.argv[1], *(Path(name) for name in sys.argv[2:])
if mode == "baseline":
    schema = Schema.infer(scan(files).arrow_schema, time="time")
    profile(scan(files, schema), schema).save(baseline)
elif mode == "window":
    reference = Profile.load(baseline)
    print(profile(scan(files, reference.schema), reference.schema, reference.blocks.edges).rows)
else:  # each distance of each column, and the verdict where there are days
    from jobs.monitor.distances import between
    if mode == "loaded":
        reference = Profile.load(baseline)
    else:
        schema = Schema.infer(scan(files).arrow_schema, time="time" if mode == "days" else "")
        reference = profile(scan(files[0], schema), schema)
    edges = reference.blocks and reference.blocks.edges
    current = profile(scan(files[1], reference.schema), reference.schema, edges)
    for name, column in reference.columns.items():
        print(name, between(column, current.columns[name]))
    if edges:
        from jobs.monitor.calibrate import calibrate
        print(calibrate(reference, current).shifts)
"""

EVIDENTLY = """
import sys
import pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset
reference, current = (pd.read_parquet(name).drop(columns="time") for name in sys.argv[1:])
result = Report([DataDriftPreset()]).run(current, reference)
print(len(result.dict()["metrics"]))
"""

WHYLOGS = """
import sys
import pandas as pd
import whylogs
for name in sys.argv[1:]:
    print(whylogs.log(pd.read_parquet(name)).profile().view().to_pandas().shape)
"""

# The least that an answer with quantiles needs: every value read, every number sorted. As columns, and a
# batch at a time, which is the faster way and what a sketch does.
COLUMNS = """
import sys
import numpy as np
import pyarrow as pa
import pyarrow.dataset
numbers = {}
for batch in pyarrow.dataset.dataset(sys.argv[1:]).to_batches():
    for name, column in zip(batch.schema.names, batch.columns):
        if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
            kind = "f8" if pa.types.is_floating(column.type) else "i8"
            values = np.frombuffer(column.buffers()[1], kind, len(column), column.offset * 8)
            numbers.setdefault(name, []).append(values)
for parts in numbers.values():
    np.sort(np.concatenate(parts))
"""

BATCHES = """
import sys
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
for name in sys.argv[1:]:
    schema = pq.read_schema(name)
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    for batch in pq.ParquetFile(name, read_dictionary=texts).iter_batches(1 << 17):
        for column in batch.columns:
            if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
                kind = "f8" if pa.types.is_floating(column.type) else "i8"
                np.sort(np.frombuffer(column.buffers()[1], kind, len(column), column.offset * 8))
"""

BASELINE = data.FOLDER / "baseline.npz"


def run() -> None:
    against_peers()
    against_floor()
    memory()


def against_peers() -> None:
    """One million rows x 20, reference and current, from start to end of a fresh process. Three ways: as the
    monitor does it, whose reference is read once, when the model is evaluated, and stored; both tables read
    without their time, which is what Evidently does; both read, days counted and judged."""
    reference, current = data.files(2)
    once(OURS, "baseline", BASELINE, reference)
    ways = {
        "loaded": "1M x 20 window against a stored baseline, distances and verdict",
        "tables": "1M x 20 both read, distances",
        "days": "1M x 20 both read, days, distances and verdict",
    }
    sides = in_turns(
        {mode: partial(once, OURS, mode, BASELINE, reference, current) for mode in ways}
        | {
            "one": lambda: once(OURS, "baseline", BASELINE, reference),
            "floor": lambda: once(BATCHES, reference, current),
        },
        repeats=7,  # the short ones; what takes a minute runs once
    )
    whylogs = once(WHYLOGS, reference, python=environment("whylogs"))
    evidently = once(EVIDENTLY, reference, current, python=environment("evidently"))
    for mode, title in ways.items():
        show(f"{title}; Evidently", sides[mode].seconds, evidently.seconds, bound=">= 150x")
    show(
        "  the least that reading both takes: scan + np.sort of batches",
        sides["floor"].seconds,
        evidently.seconds,
    )
    show("  CPU time, both read", sides["tables"].cpu, evidently.cpu)
    show("  peak memory, both read", sides["tables"].peak, evidently.peak, "MB")
    one = sides["one"]
    show("1M x 20 baseline; whylogs' profile", one.seconds, whylogs.seconds, bound=">= 20x")
    show("  CPU time", one.cpu, whylogs.cpu)
    show("  peak memory", one.peak, whylogs.peak, "MB")


def against_floor() -> None:
    """A window of ten million rows x 20, on the bins of a baseline, beside a pyarrow scan and np.sort of its
    numbers."""
    files = data.files(10)
    once(OURS, "baseline", BASELINE, files[0])
    sides = in_turns(
        {
            "ours": lambda: once(OURS, "window", BASELINE, *files),
            "columns": lambda: once(COLUMNS, *files),
            "batches": lambda: once(BATCHES, *files),
        }
    )
    ours = sides["ours"]
    show(
        "10M x 20 window; pyarrow scan + np.sort of columns",
        ours.seconds,
        sides["columns"].seconds,
        bound=">= 0.67x",
    )
    show("  peak memory", ours.peak, sides["columns"].peak, "MB")
    show("  beside np.sort of batches", ours.seconds, sides["batches"].seconds)
    show("  CPU time", ours.cpu, sides["batches"].cpu)


def memory() -> None:
    """Peak memory from one to fifty million rows: the same ten files again and again."""
    files = data.files(10)
    once(OURS, "baseline", BASELINE, files[0])
    largest = int(os.environ.get("BENCH_MILLIONS", "50"))
    for millions in sorted({1, 10, largest}):
        ran = once(OURS, "window", BASELINE, *[files[index % 10] for index in range(millions)])
        print(f"{millions}M x 20 window: peak {ran.peak:.0f} MB (bound 400), {ran.seconds:.2f} s")
