"""Training-serving skew: the same row, as the pipeline computed it and as the request carried it.

A feature that two programs compute must be the same in both. Distributions cannot tell: rows can. The
pipeline's rows come in data files with the id of model.yaml and any of its features; they are joined with the
captured ones by id.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.contract import JobError
from jobs.monitor.buffers import floats, positions, texts
from jobs.monitor.checks import Violation, violation
from jobs.monitor.datafiles import as_text
from jobs.monitor.scan import scan
from jobs.monitor.schema import Field, Schema

TOLERANCE = 1e-6  # relative, for numbers: float32 in one of two programs
LEAST_SHARE = 0.01  # of the joined rows that differ
LEAST_ROWS = 30
CHECK = "training_serving_skew_check"


def read(pipeline: Path, ids: pa.Array, schema: Schema) -> pa.Table:
    """The pipeline's rows with one of these ids: the id as text, and the features that all files have, in the
    monitor's types. Raises JobError for files that cannot be read or have no ids."""
    wanted, found = pc.unique(ids.drop_null().cast(pa.large_string())), []
    for batch in scan(pipeline, schema, whole=True):
        if schema.id not in batch.schema.names:
            raise JobError(f"the pipeline's files have no column `{schema.id}` to join rows by")
        names = as_text(batch.column(schema.id), schema.id).cast(pa.large_string())
        is_wanted = pc.is_in(names, value_set=wanted)
        columns = {schema.id: names.filter(is_wanted)}
        for name, field in schema.fields.items():
            if name in batch.schema.names:
                columns[name] = _typed(batch.column(name).filter(is_wanted), field)
        found.append(pa.table(columns))
    if not found:
        raise JobError("the pipeline's files have no rows")
    shared = [name for name in schema.fields if all(name in table.column_names for table in found)]
    return pa.concat_tables([table.select([schema.id, *shared]) for table in found])


def compare(
    captured: pa.Table, ids: pa.Array, pipeline: pa.Table, schema: Schema, least: float = LEAST_SHARE
) -> tuple[dict[str, Any], list[Violation]]:
    """`ids` are the captured rows' own; `pipeline` has the schema's id column, and features of any rows.

    Returns what analysis.json holds (joined rows, share that differs per feature), and a violation for each
    feature of which more than `least` of the rows differ.
    """
    places = positions(ids, _strings(pipeline[schema.id]), -1)
    here = np.flatnonzero(places >= 0)
    report: dict[str, Any] = {"rows": len(here), "features": {}}
    if len(here) < LEAST_ROWS:
        report["reason"] = f"{len(here)} rows of the pipeline were captured too, {LEAST_ROWS} are needed"
        return report, []
    ours, theirs = captured.take(pa.array(here)), pipeline.take(pa.array(places[here]))
    found = []
    for name, field in schema.fields.items():
        if name not in ours.column_names or name not in theirs.column_names:
            continue
        differs = _differs(ours[name].combine_chunks(), theirs[name].combine_chunks(), field)
        share = float(differs.mean())
        report["features"][name] = {"different": round(share, 6)}
        if share > least:
            example = ids[int(here[np.argmax(differs)])].as_py()
            reason = (
                f"{share:.1%} of {len(here):,} rows are not what the pipeline computed for the same id, "
                f"such as {example!r}"
            )
            found.append(violation(name, CHECK, reason, "different", share, least))
    return report, found


def _differs(ours: pa.Array, theirs: pa.Array, field: Field) -> np.ndarray:
    """bool[row]; a missing value differs from one that is there."""
    if field.is_categorical:
        sides = []
        for column in (ours, theirs):
            codes, dictionary, _ = texts(column)
            sides.append(np.array([*dictionary.to_pylist(), None], object)[codes])
        return sides[0] != sides[1]
    a, b = (floats(column)[0] for column in (ours, theirs))
    with np.errstate(invalid="ignore"):
        near = np.abs(a - b) <= TOLERANCE * np.maximum(np.abs(a), np.abs(b))
    return ~(near | (a == b) | (np.isnan(a) & np.isnan(b)))


def _typed(column: pa.Array, field: Field) -> pa.Array:
    """As large strings, or as float64 with NaN where there is no number."""
    if not field.is_categorical:
        return pa.array(floats(column)[0])
    codes, dictionary, _ = texts(column)
    places = pa.array(codes.astype(np.int64), mask=codes < 0)
    return dictionary.cast(pa.large_string()).take(places)


def _strings(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks().cast(pa.large_string())
