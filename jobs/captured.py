"""What a model was asked in service, with the labels that came since, as rows to train on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from jobs.columns import TIMESTAMP
from jobs.declared import ARROW_TYPES, Finding
from jobs.monitor import window
from jobs.monitor.labels import read_labels
from jobs.monitor.schema import Schema
from jobs.monitor.window import Problems, Window
from jobs.spec import MULTICLASS, Feature, Spec

# The manifests say which hours are read.
FIRST, LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


def rows(capture: Path, labels: Path, spec: Spec, known: pa.Array) -> tuple[pa.Table, list[Finding]]:
    """Labelled requests in the columns and types of model.yaml, in order of the files, and how many were left
    out.

    A request's answer may come again, and its row may be among the base data by now: `known` ids are left to
    those, and of the others the last request counts. Rows that model.yaml would refuse are dropped here: what
    clients sent is no reason to refuse a training.
    """
    schema = replace(Schema.of(spec), protected=tuple(spec.extra_columns))
    problems = Problems()
    labelled = read_labels(labels, spec.task, problems.skipped)
    pieces = [
        _labelled(piece, spec) for piece in window.batches(capture, labelled, schema, FIRST, LAST, problems)
    ]
    table = pa.concat_tables(pieces)
    valid = _valid(table, spec)
    refused = len(table) - (pc.sum(valid).as_py() or 0)
    table = _last_of_each(table.filter(valid), spec.id)
    repeated = pc.is_in(table[spec.id], value_set=known)
    table = table.filter(pc.invert(repeated))
    findings = [_finding(f"{len(table):,} labelled requests were added", len(table))]
    if refused:
        what = "labelled requests were left out: they are not what model.yaml allows"
        findings.append(_finding(f"{refused:,} {what}", refused))
    if problems.skipped.lines:
        what = f"{problems.skipped.lines:,} captured lines could not be read"
        findings.append(_finding(f"{what}: {problems.skipped.problems[0]}", problems.skipped.lines))
    return table, findings


def _labelled(piece: Window, spec: Spec) -> pa.Table:
    """The rows of a piece that have an id and a label."""
    columns = {
        spec.id: piece.ids,
        spec.time: pa.array(piece.times).cast(TIMESTAMP),
        spec.target: piece.label.cast(pa.string() if spec.task == MULTICLASS else pa.float64()),
    }
    for feature in spec.features.values():
        columns[feature.name] = _typed(piece.table[feature.name], feature)
    for name in spec.extra_columns:
        columns[name] = piece.table[name].cast(pa.string())
    return pa.table(columns).filter(pc.and_(piece.ids.is_valid(), piece.label.is_valid()))


def _typed(values: pa.ChunkedArray, feature: Feature) -> pa.ChunkedArray:
    """In the type of the base data; a missing number is null."""
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
    return values.cast(ARROW_TYPES[feature.type])


def _valid(table: pa.Table, spec: Spec) -> pa.ChunkedArray:
    """bool per row: each feature is there where it must be, finite, in its range and among its values."""
    valid = pa.chunked_array([pa.repeat(True, len(table))])
    for feature in spec.features.values():
        values = table[feature.name]
        fits = pa.chunked_array([pa.repeat(True, len(table))])
        if pa.types.is_floating(values.type):
            fits = pc.is_finite(values)
        if feature.minimum is not None:
            fits = pc.and_(fits, pc.greater_equal(values, feature.minimum))
        if feature.maximum is not None:
            fits = pc.and_(fits, pc.less_equal(values, feature.maximum))
        if feature.values is not None:
            fits = pc.and_(fits, pc.is_in(values, value_set=pa.array(feature.values).cast(values.type)))
        # A missing value fits nothing and is judged by `nullable` alone.
        fits = pc.if_else(pc.is_null(values), feature.nullable, fits)
        valid = pc.and_(valid, fits)
    return valid


def _last_of_each(table: pa.Table, key: str) -> pa.Table:
    places = pa.table({"id": table[key], "place": pa.array(range(len(table)), pa.int64())})
    last = places.group_by("id", use_threads=False).aggregate([("place", "max")])["place_max"]
    return table.take(pc.take(last, pc.sort_indices(last)))


def _finding(reason: str, rows: int) -> Finding:
    return Finding(None, "captured", reason, rows=rows, fatal=False)
