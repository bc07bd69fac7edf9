"""What needs no statistics: a column that is not there, a value that may not be. Each violation names its
column, how many rows, and what is allowed.

Check types are Model Monitor's six, with `range_check` and `duplicate_check` beside them.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

import numpy as np

from jobs.monitor.blocks import CATEGORIES
from jobs.monitor.columns import Column, NumberColumn, StringColumn
from jobs.monitor.distances import category_cells
from jobs.monitor.profile import Profile
from jobs.monitor.schema import Field

Violation = dict[str, Any]
ROWS = "rows"  # the feature_name of what concerns whole rows
NEW = 0.01  # share of rows with categories never seen, under which nothing is said
DUPLICATES = 0.05  # share of rows that repeat another, beyond what the baseline has
UNANSWERED = 0.01  # share of answers that may be missing beyond the holdout's, or of another type
SHOWN = 3


def check(reference: Profile, window: Profile) -> list[Violation]:
    """Everything that is wrong with the window's columns, as the baseline's schema has them."""
    if not window.rows:
        return []
    extra = {name: rows for name, rows in sorted(window.extra.items()) if name not in reference.extra}
    found = [_unknown(name, rows, window) for name, rows in extra.items()]
    for name, before in reference.columns.items():
        now = window.columns.get(name)
        if now is None or now.absent == now.rows:
            found.append(_absent(name, list(extra)))
        elif now.field.type != before.field.type:
            reason = (
                f"the baseline holds {name} as {before.field.type}, the window as {now.field.type}: "
                "evaluate the model again"
            )
            found.append(violation(name, "data_type_check", reason))
        else:
            found += _types(before, now)
            found += _completeness(before, now)
            found += _numbers(now) if isinstance(now, NumberColumn) else _categories(before, now)
    return [*found, *_duplicates(reference, window)]


def answers(before: Column, now: Column, watch: str, mistyped: dict[str, int]) -> list[Violation]:
    """The answers' key `watch`, of which a few more may be missing than on the holdout. `mistyped`: how many
    values of each key are of another type."""
    name, rows, found = now.field.name, max(now.rows, 1), []
    for key, count in mistyped.items():
        if count / rows > UNANSWERED:
            reason = f"`{key}` is of another type in {count:,} of {now.rows:,} answers"
            found.append(violation(name, "data_type_check", reason, "mistyped", count / rows, UNANSWERED))
    share, allowed = _gaps(now), _gaps(before) + UNANSWERED
    if share > allowed and not found:
        reason = f"{_rows(now.rows - now.n, now)} are missing: the answers have no usable `{watch}`"
        found.append(violation(name, "completeness_check", reason, "missing", share, allowed))
    return found


def violation(
    name: str,
    check: str,
    description: str,
    metric: str | None = None,
    value: float | None = None,
    threshold: float | None = None,
) -> Violation:
    """As in constraint_violations.json, with the figures that it leaves out."""
    return {
        "feature_name": name,
        "constraint_check_type": check,
        "description": description,
        "metric": metric,
        "value": None if value is None else round(float(value), 6),
        "threshold": None if threshold is None else round(float(threshold), 6),
    }


def _absent(name: str, extra: list[str]) -> Violation:
    reason = f"no row of the window has the column {name}"
    alike = get_close_matches(name, extra, n=1, cutoff=0.5) or (extra if len(extra) == 1 else [])
    if alike:
        reason += f"; rows have {alike[0]}, which the model does not know: was it renamed?"
    return violation(name, "missing_column_check", reason, "missing", 1.0, 0.0)


def _unknown(name: str, rows: int, window: Profile) -> Violation:
    """A column that neither the model reads nor its training data has."""
    reason = f"{rows:,} rows have a column {name}, which the model does not know"
    return violation(name, "extra_column_check", reason, "rows", rows / window.rows, 0.0)


def _types(before: Column, now: Column) -> Iterator[Violation]:
    name, rows = now.field.name, max(now.rows, 1)
    if now.mistyped:
        reason = f"{_rows(now.mistyped, now)} are no {now.field.type}"
        allowed = before.mistyped / max(before.rows, 1)
        if now.mistyped / rows > allowed:
            yield violation(name, "data_type_check", reason, "mistyped", now.mistyped / rows, allowed)
    if isinstance(now, NumberColumn) and isinstance(before, NumberColumn) and now.infinite:
        allowed = before.infinite / max(before.rows, 1)
        if now.infinite / rows > allowed:
            reason = f"{_rows(now.infinite, now)} are infinite"
            yield violation(name, "data_type_check", reason, "infinite", now.infinite / rows, allowed)


def _completeness(before: Column, now: Column) -> Iterator[Violation]:
    """Gaps where none are allowed, or nothing but gaps. More gaps than usual are a matter of `calibrate`."""
    share = now.missing / max(now.rows, 1)
    if not now.field.nullable and now.missing:
        reason = f"{_rows(now.missing, now)} are missing, none may be"
        yield violation(now.field.name, "completeness_check", reason, "missing", share, 0.0)
    elif not now.n and before.n and now.missing == now.rows:  # of another type: said above
        reason = f"none of the {now.rows:,} rows has a usable value"
        yield violation(now.field.name, "completeness_check", reason, "missing", share, _gaps(before))


def _numbers(now: NumberColumn) -> Iterator[Violation]:
    field, seen = now.field, max(now.rows, 1)
    if now.below:
        reason = f"{_rows(now.below, now)} are under {field.minimum:g}, the least is {now.min:g}"
        yield violation(field.name, "range_check", reason, "below", now.below / seen, 0.0)
    if now.above:
        reason = f"{_rows(now.above, now)} are over {field.maximum:g}, the greatest is {now.max:g}"
        yield violation(field.name, "range_check", reason, "above", now.above / seen, 0.0)


def _categories(before: StringColumn, now: StringColumn) -> Iterator[Violation]:
    """Values that are not among the allowed; without a list, new ones where the baseline has more categories
    than its blocks follow one by one."""
    field: Field = now.field
    if field.values is not None:
        allowed = set(field.values)
        held = now.counts.as_dict()
        others = {name: rows for name, rows in held.items() if name not in allowed}
        if others:
            rows = sum(others.values())
            reason = f"{_rows(rows, now)} are none of the allowed values: {_some(list(others))}"
            yield violation(field.name, "categorical_values_check", reason, "new", rows / now.rows, 0.0)
        return
    if len(before.counts.counts) <= CATEGORIES or not before.counts.exact or not now.n:
        return
    p, q = category_cells(before.counts, now.counts)
    share, limit = float(q[p == 0].sum() / now.n), NEW + 2 * _unseen(before)
    if share > limit:
        reason = f"{share:.1%} of the rows have a category that the baseline never saw, {limit:.1%} may"
        yield violation(field.name, "categorical_values_check", reason, "new", share, limit)


def _duplicates(reference: Profile, window: Profile) -> Iterator[Violation]:
    """More rows, more repetitions: the baseline's share is allowed in proportion."""
    if window.rows < 2 or not window.columns:
        return
    growth = max(1.0, window.rows / max(reference.rows, 1))
    share = window.duplicates.repeated()
    limit = min(1.0, reference.duplicates.repeated() * growth + DUPLICATES)
    if share > limit:
        reason = f"{share:.1%} of the rows repeat another in every column, {limit:.1%} may"
        yield violation(ROWS, "duplicate_check", reason, "duplicates", share, limit)


def _unseen(column: StringColumn) -> float:
    """The share of rows whose category was seen once: how often the next row has a new one (Good 1953,
    doi 10.1093/biomet/40.3-4.237)."""
    return float(np.count_nonzero(column.counts.counts == 1) / max(column.n, 1))


def _gaps(column: Column) -> float:
    return (column.rows - column.n) / max(column.rows, 1)


def _rows(count: int, column: Column) -> str:
    return f"{count:,} of {column.rows:,} values"


def _some(names: list[str]) -> str:
    shown = ", ".join(repr(name[:40]) for name in names[:SHOWN])
    return shown + (f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")
