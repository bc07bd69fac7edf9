"""Pictures of a column then and now: what the baseline held, what the window holds, on the same scale."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np

from jobs.monitor import charts
from jobs.monitor.charts import Axis
from jobs.monitor.profile import Column, NumberColumn
from jobs.monitor.wording import brief, listed, number, percent, short

BARS = 28
REST = "all others"
SHOWN = 7  # categories with a row of their own
TAIL = 0.002  # share of the rows at either end that may lie outside the picture
GAPS = 0.01  # a change of the share of missing values that is worth a word
HEIGHT = 124
FOOT, HEAD = 18, 18  # pixels


def picture(then: Column, now: Column) -> str:
    """HTML; a sentence where there is nothing to draw."""
    if not now.n:
        return '<p class="soft">No value in this window.</p>'
    if isinstance(then, NumberColumn) and isinstance(now, NumberColumn):
        return _numbers(then, now)
    return _categories(then, now)


def moved(then: Column, now: Column) -> str:
    """What changed, in words that a person can check."""
    if not then.n or not now.n:
        return "no value in this window" if not now.n else "the baseline has no value"
    is_number = isinstance(then, NumberColumn) and isinstance(now, NumberColumn)
    said = _centre(then, now) if is_number else _largest_change(then, now)
    before, after = ((column.rows - column.n) / column.rows for column in (then, now))
    return said if abs(after - before) < GAPS else f"{said}; missing {percent(before)} → {percent(after)}"


def _centre(then: NumberColumn, now: NumberColumn) -> str:
    before, after = (float(column.quantiles.quantile(0.5)) for column in (then, now))
    if before != after:
        is_close = number(before) == number(after)
        told = [f"{value:.5g}" if is_close else number(value) for value in (before, after)]
        return f"median {' → '.join(told)}"
    return f"mean {number(then.mean)} → {number(now.mean)}"


def _largest_change(then: Any, now: Any) -> str:
    known = set(then.counts.as_dict())
    named = [row for row in _shares(then, now) if row[0] != REST]
    name, before, after = max(named, key=lambda row: abs(row[2] - row[1]))
    said = f"{brief(name)}: {percent(before)} → {percent(after)} of the rows"
    new = {name: rows for name, rows in now.counts.as_dict().items() if name not in known}
    if not new:
        return said
    names = listed(list(new), 3)
    appeared = f"new: {names} ({percent(sum(new.values()) / now.n)} of the rows)"
    return appeared if name in new else f"{said}; {appeared}"


def _numbers(then: NumberColumn, now: NumberColumn) -> str:
    edges = _edges(then, now)
    if len(edges) < 2 and now.max > now.min:
        return f'<p class="soft">From {number(now.min)} to {number(now.max)}: too far to draw.</p>'
    if len(edges) < 2:
        return f'<p class="soft">Always {number(now.min)}.</p>'
    shares = [_in_bars(column, edges) for column in (then, now)]
    top = max(1e-9, *(float(share.max()) for share in shares))
    x, y = Axis(edges[0], edges[-1]), Axis(0, top, HEIGHT - FOOT, HEAD)
    body, outline = charts.line(0, HEAD, 100, HEAD, "grid"), []
    body += charts.text(100, HEAD - 5, f"{percent(top)} of the rows", anchor="end")
    for index in range(len(edges) - 1):
        left, right = x.at(edges[index]), x.at(edges[index + 1])
        before, after = shares[0][index], shares[1][index]
        where = f"{number(edges[index])} to {number(edges[index + 1])}"
        tip = f"{where}: {percent(after)} now, {percent(before)} then"
        body += charts.bar(left, y.at(after), right - left - 0.3, y.start - y.at(after), "now", tip)
        outline += [(left, y.at(before)), (right, y.at(before))]
    body += charts.path([(0.0, y.start), *outline, (100.0, y.start)], "then")
    for value in charts.ticks(float(edges[0]), float(edges[-1]), 4):
        at = x.at(value)
        anchor = "start" if at < 4 else "end" if at > 96 else "middle"
        body += charts.text(at, HEIGHT - 4, short(value), anchor=anchor)
    label = escape(f"{now.field.name}, then and now: {moved(then, now)}")
    return f'<svg class="shape" height="{HEIGHT}" role="img" aria-label="{label}">{body}</svg>'


def _edges(then: NumberColumn, now: NumberColumn) -> np.ndarray:
    """Edges of equally wide bars over all but the far tails of both."""
    columns = [column for column in (then, now) if column.n]
    low = min(float(column.quantiles.quantile(TAIL)) for column in columns)
    high = max(float(column.quantiles.quantile(1 - TAIL)) for column in columns)
    with np.errstate(over="ignore"):
        width = np.float64(high) - low
    if not width > 0 or not np.isfinite(width):
        return np.array([])
    is_whole = then.field.type == "integer" and high - low < BARS
    if is_whole:
        return np.arange(np.floor(low), np.floor(high) + 2) - 0.5
    return np.linspace(low, high, BARS + 1)


def _in_bars(column: NumberColumn, edges: np.ndarray) -> np.ndarray:
    """Share of the rows in each bar; the first takes its left edge too."""
    if not column.n:
        return np.zeros(len(edges) - 1)
    below = column.quantiles.cdf(edges)
    below[0] = column.quantiles.cdf(np.nextafter(edges[0], -np.inf))
    return np.diff(below)


def _categories(then: Any, now: Any) -> str:
    rows = _shares(then, now)
    top = max((max(before, after) for name, before, after in rows if name != REST), default=0) or 1.0
    body = ""
    for name, before, after in rows:
        bars = (
            f'<i class="now" style="width:{100 * after / top:.1f}%"></i>'
            f'<i class="then" style="width:{100 * before / top:.1f}%"></i>'
        )
        body += (
            f'<div class="kind"><span title="{escape(name)}">{escape(name)}</span>'
            f"<div>{bars if name != REST else ''}</div>"
            f"<b>{percent(before)} → {percent(after)}</b></div>"
        )
    return f'<div class="kinds both">{body}</div>'


def _shares(then: Any, now: Any) -> list[tuple[str, float, float]]:
    """(category, share then, share now): those of the largest share or change, then all others."""
    names = list(dict.fromkeys([*then.counts.as_dict(50), *now.counts.as_dict(50)]))
    before, after = (column.counts.of(names) / max(column.n, 1) for column in (then, now))
    changed = np.argsort(-(np.maximum(before, after) + 3 * np.abs(after - before)), kind="stable")[:SHOWN]
    kept = sorted(changed, key=lambda index: -max(before[index], after[index]))
    rows = [(names[index], float(before[index]), float(after[index])) for index in kept]
    rest = [max(0.0, 1 - sum(row[place] for row in rows)) for place in (1, 2)]
    return [*rows, (REST, *rest)] if max(rest) > 0.0005 else rows
