"""Is this data what model.yaml promises? Every mistake is named with its column, file and first bad row.

Reasons are logged and sent by e-mail: they quote no whole row, and no value of the id or a protected column.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.columns import read_file
from jobs.declared import Finding, Refused, held, in_all, typed
from jobs.spec import BINARY, MULTICLASS, REGRESSION, Feature, Spec

# What Arrow says of a line that does not fit; the line itself follows.
BROKEN_LINE = re.compile(r"CSV parse error: Expected \d+ columns, got \d+")


def read_checked(files: list[Path], root: Path, spec: Spec) -> tuple[pa.Table | None, list[Finding]]:
    """All rows of all files in the declared types, and what is wrong with them. No table where nothing
    was readable."""
    tables, findings = [], []
    for path in files:
        table, found = _read_one(path, str(path.relative_to(root)), spec)
        findings += found
        if table is not None:
            tables.append(table)
    if not files:
        findings.append(Finding(None, "no_files", "there is no Parquet or CSV file in the data"))
    return (_joined(tables) if tables else None), findings


def check_rows(table: pa.Table, spec: Spec) -> list[Finding]:
    """What only the rows of all files together can show: duplicate ids and the label."""
    return [*_duplicates(table[spec.id], spec), *_label(table[spec.target], spec)]


def check_size(rows: int, least: int, what: str) -> list[Finding]:
    if rows >= least:
        return []
    return [
        Finding(None, "too_few_rows", f"{what} has {rows:,} rows, at least {least:,} are needed", rows=rows)
    ]


def unseen_categories(train: pa.Table, holdout: pa.Table, spec: Spec) -> list[Finding]:
    """Categories in the holdout that training never saw, where model.yaml lists none: counted, not
    refused."""
    findings = []
    for feature in spec.features.values():
        if feature.type != "string" or feature.values is not None:
            continue
        seen = pc.unique(train[feature.name])
        unseen = pc.and_(
            pc.invert(pc.is_in(holdout[feature.name], value_set=seen)), pc.is_valid(holdout[feature.name])
        )
        rows = pc.sum(unseen).as_py() or 0
        if rows:
            reason = f"{rows:,} held-out rows have a category that training never saw"
            if feature.name not in spec.private:
                reason += f": {_some(pc.unique(holdout[feature.name].filter(unseen)).to_pylist())}"
            reason = f"column `{feature.name}`: {reason}"
            findings.append(Finding(feature.name, "unseen_category", reason, rows=rows, fatal=False))
    return findings


def _read_one(path: Path, name: str, spec: Spec) -> tuple[pa.Table | None, list[Finding]]:
    if path.stat().st_size == 0:
        return None, [Finding(None, "empty_file", f"{name} is empty", name)]
    text = [spec.id, *(feature.name for feature in spec.features.values() if feature.type == "string")]
    try:
        table = read_file(path, text)
    except (pa.ArrowInvalid, OSError) as error:
        broken = BROKEN_LINE.match(str(error))
        why = broken[0] if broken else str(error).splitlines()[0]
        return None, [Finding(None, "unreadable_file", f"{name} cannot be read: {why}", name)]
    repeated = sorted({column for column in table.column_names if table.column_names.count(column) > 1})
    if repeated:
        return None, [_repeated(column, name) for column in repeated]
    if table.num_rows == 0:
        return None, [Finding(None, "empty_file", f"{name} has no rows", name)]
    required = [spec.id, spec.time, spec.target, *spec.features, *spec.extra_columns]
    missing = [column for column in required if column not in table.column_names]
    if missing:
        return None, [_missing(column, name, spec) for column in missing]
    columns, found = {}, []
    for column in required:
        try:
            columns[column] = typed(table[column], column, spec)
            found += _values(columns[column], column, spec)
        except Refused as refused:
            found.append(refused.finding)
    findings = [replace(finding, file=name, reason=f"{name}: {finding.reason}") for finding in found]
    if len(columns) < len(required):
        return None, findings
    # Columns that only a champion of another model.yaml reads travel on: it has to sit the same exam.
    others = {column: table[column] for column in table.column_names if column not in columns}
    return pa.table(columns | others), findings


def _joined(tables: list[pa.Table]) -> pa.Table:
    """All rows, with the columns that every file has in the same type (those of model.yaml always are)."""
    shared = set.intersection(*({(field.name, field.type) for field in table.schema} for table in tables))
    names = [field.name for field in tables[0].schema if (field.name, field.type) in shared]
    return pa.concat_tables([table.select(names) for table in tables])


def _missing(column: str, name: str, spec: Spec) -> Finding:
    roles = {spec.id: "the id", spec.time: "the time", spec.target: "the label"}
    role = roles.get(
        column, "a feature" if column in spec.features else "a column that the gate or the monitor uses"
    )
    return Finding(column, "missing_column", f"{name} has no column `{column}` ({role} in model.yaml)", name)


def _repeated(column: str, name: str) -> Finding:
    return Finding(column, "repeated_column", f"{name} has the column `{column}` more than once", name)


def _values(values: pa.ChunkedArray, column: str, spec: Spec) -> Iterator[Finding]:
    """Nulls, infinities, ranges and listed values of a column that has its declared type."""
    feature = spec.features.get(column)
    nullable = feature.nullable if feature else column in spec.extra_columns
    if not nullable:
        yield from _finding(pc.is_null(values), values, column, "null", "may not be missing, is", spec)
    if not pa.types.is_floating(values.type) and not pa.types.is_integer(values.type):
        if feature and feature.values is not None:
            yield from _listed(values, feature, spec)
        return
    if pa.types.is_floating(values.type):
        yield from _finding(pc.is_inf(values), values, column, "infinite", "must be finite, is", spec)
    if feature is None:
        return
    if feature.minimum is not None:
        under = pc.less(values, feature.minimum)
        yield from _finding(under, values, column, "range", f"is under {feature.minimum}:", spec)
    if feature.maximum is not None:
        over = pc.greater(values, feature.maximum)
        yield from _finding(over, values, column, "range", f"is over {feature.maximum}:", spec)
    if feature.values is not None:
        yield from _listed(values, feature, spec)


def _listed(values: pa.ChunkedArray, feature: Feature, spec: Spec) -> Iterator[Finding]:
    listed = pc.is_in(values, value_set=pa.array(feature.values).cast(values.type))
    unknown = pc.and_(pc.invert(listed), pc.is_valid(values))
    what = f"is none of {_some(feature.values)}:"
    yield from _finding(unknown, values, feature.name, "values", what, spec)


def _finding(
    bad: pa.ChunkedArray, values: pa.ChunkedArray, column: str, check: str, what: str, spec: Spec
) -> Iterator[Finding]:
    count = pc.sum(bad).as_py() or 0
    if count:
        first = pc.index(bad, True).as_py()
        shown = f"{held(values, first, column, spec)} in row {first + 1}"
        yield Finding(column, check, f"column `{column}` {what} {shown}{in_all(count)}", rows=count)


def _duplicates(ids: pa.ChunkedArray, spec: Spec) -> list[Finding]:
    counts = pc.value_counts(ids)
    repeated = counts.filter(pc.greater(counts.field("counts"), 1))
    if not len(repeated):
        return []
    rows = pc.sum(repeated.field("counts")).as_py() - len(repeated)
    first = pc.index(ids, repeated.field("values")[0]).as_py()
    again = first + 1 + pc.index(ids.slice(first + 1), ids[first]).as_py()
    same = f"rows {first + 1} and {again + 1} of all files, in the order of their names, have the same"
    reason = f"column `{spec.id}` must be unique, {same}{in_all(rows)}"
    return [Finding(spec.id, "duplicate_id", reason, rows=rows)]


def _label(target: pa.ChunkedArray, spec: Spec) -> list[Finding]:
    if spec.task == REGRESSION:
        return []
    classes = pc.unique(target.drop_null()).to_pylist()
    if spec.task == BINARY and not set(classes) <= {0.0, 1.0}:
        others = _some(sorted(set(classes) - {0.0, 1.0}))
        return [
            Finding(spec.target, "label", f"label `{spec.target}` must be 0 or 1, there is also {others}")
        ]
    if len(classes) < 2:
        only = f"only one class ({classes[0]!r})" if classes else "no value"
        return [
            Finding(spec.target, "one_class", f"label `{spec.target}` has {only}: there is nothing to learn")
        ]
    return _outcome({str(value) for value in classes}, spec)


def _outcome(classes: set[str], spec: Spec) -> list[Finding]:
    """Of an outcome that no row has, every group would be found to be treated alike."""
    positive = (spec.monitor.get("bias") or {}).get("positive")
    if spec.task != MULTICLASS or positive is None:
        return []
    named = {str(value) for value in (positive if isinstance(positive, list) else [positive])}
    if named & classes:
        return []
    reason = f"label `{spec.target}` is nowhere {' or '.join(sorted(named))}, as monitor.bias.positive has it"
    return [Finding(spec.target, "outcome", f"{reason}: there are {_some(sorted(classes))}")]


def _some(values: Iterable[Any], most: int = 5) -> str:
    listed = [str(value) for value in values]
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")
