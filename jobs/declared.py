"""A column in the type that model.yaml declares, or what keeps it from being that."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.columns import timestamps
from jobs.spec import MULTICLASS, Feature, Spec

NUMBER = r"^\s*[-+]?(\d+\.?\d*([eE][-+]?\d+)?|\.\d+([eE][-+]?\d+)?)\s*$"
INTEGERS = 2.0**63  # an int64 is less, without its sign
ARROW_TYPES = {"number": pa.float64(), "integer": pa.int64(), "string": pa.string(), "boolean": pa.bool_()}


@dataclass(frozen=True)
class Finding:
    """`rows` is how many rows are affected (0: the whole file or set). A fatal finding refuses the data."""

    column: str | None
    check: str
    reason: str
    file: str | None = None
    rows: int = 0
    fatal: bool = True

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Refused(Exception):
    """A column cannot be read as what it should be; carries the finding."""

    def __init__(self, finding: Finding):
        super().__init__(finding.reason)
        self.finding = finding


def typed(values: pa.ChunkedArray, column: str, spec: Spec) -> pa.ChunkedArray:
    """The column in the type that the jobs work with; Refused names the first row that is not of it."""
    if column == spec.time:
        return _as_time(values, column)
    if column == spec.target:
        return _as_class(values, spec) if spec.task == MULTICLASS else _as_number(values, column, spec)
    if column in spec.features:
        return _as_feature(values, spec.features[column], spec)
    return _as_text(values, column)


def _as_feature(values: pa.ChunkedArray, feature: Feature, spec: Spec) -> pa.ChunkedArray:
    if feature.type == "string":
        if not (_is_text(values) or pa.types.is_null(values.type)):
            raise _wrong_type(feature.name, f"should be text, is {values.type}")
        return _as_text(values, feature.name)
    if feature.type == "boolean" and pa.types.is_boolean(values.type):
        return values
    numbers = _as_number(values, feature.name, spec)
    if feature.type == "number":
        return numbers
    whole = _is_whole(numbers)
    if feature.type == "boolean":
        whole = pc.or_kleene(pc.is_null(numbers), pc.is_in(numbers, value_set=pa.array([0.0, 1.0])))
    _refuse_first(pc.invert(whole), values, feature.name, f"should be {_article(feature.type)}", spec)
    return numbers.cast(ARROW_TYPES[feature.type])


def _as_class(values: pa.ChunkedArray, spec: Spec) -> pa.ChunkedArray:
    """Text; `7.0` and `7` are the same class, as they are in answers: where a null stands between whole
    numbers, they are floats."""
    if not pa.types.is_floating(values.type):
        return _as_text(values, spec.target)
    numbers = _as_number(values, spec.target, spec)
    should = "should be a class, as text or a whole number (of other numbers the task is regression)"
    _refuse_first(pc.invert(_is_whole(numbers)), values, spec.target, should, spec)
    return numbers.cast(pa.int64()).cast(pa.string())


def _is_whole(numbers: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whether each is missing, or an integer of 64 bits."""
    fits = pc.and_(pc.equal(pc.round(numbers), numbers), pc.less(pc.abs(numbers), INTEGERS))
    return pc.or_kleene(pc.is_null(numbers), fits)


def _as_number(values: pa.ChunkedArray, column: str, spec: Spec) -> pa.ChunkedArray:
    """float64, NaN as null: both mean that the value is not known."""
    if _is_text(values):
        text = _as_text(values, column)
        bad = pc.invert(pc.match_substring_regex(text, NUMBER))
        _refuse_first(bad, text, column, "should be a number", spec)
        values = pc.utf8_trim_whitespace(text)
    elif pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    try:
        numbers = values.cast(pa.float64(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise _wrong_type(column, f"should be a number, is {values.type}") from None
    return pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)


def _as_time(values: pa.ChunkedArray, column: str) -> pa.ChunkedArray:
    try:
        return timestamps(values)
    except pa.ArrowNotImplementedError:
        raise _wrong_type(column, f"should be a time, is {values.type}") from None
    except pa.ArrowInvalid as error:
        raise _wrong_type(column, f"should be a time in ISO 8601: {error}") from None


def _is_text(values: pa.ChunkedArray) -> bool:
    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _as_text(values: pa.ChunkedArray, column: str) -> pa.ChunkedArray:
    try:
        return values.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise _wrong_type(column, f"should be text, is {values.type}") from None


def _refuse_first(
    bad: pa.ChunkedArray, values: pa.ChunkedArray, column: str, should: str, spec: Spec
) -> None:
    count = pc.sum(bad).as_py() or 0
    if count:
        first = pc.index(bad, True).as_py()
        shown = held(values, first, column, spec)
        raise _wrong_type(column, f"{should}, row {first + 1} holds {shown}", count)


def held(values: pa.ChunkedArray, row: int, column: str, spec: Spec) -> str:
    """The value in words, as far as it may be told."""
    value = values[row].as_py()
    if value is None:
        return "missing"
    return "a value that is not shown" if column in spec.private else repr(value)


def _wrong_type(column: str, reason: str, rows: int = 0) -> Refused:
    return Refused(Finding(column, "type", f"column `{column}` {reason}{in_all(rows)}", rows=rows))


def in_all(rows: int) -> str:
    return f" ({rows:,} rows in all)" if rows > 1 else ""


def _article(kind: str) -> str:
    return {"integer": "a whole number", "boolean": "true or false"}[kind]
