"""Inline SVG without a library: every chart keeps its text at one size from a phone to a wide screen.

x runs in percent of the plot's width and y in pixels, so an SVG stretches sideways without a viewBox and its
letters never shrink. Colours are classes: report.css gives each one a light and a dark value.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from html import escape

from jobs.monitor.charts import PAD, Axis, bar, dot, line, path, text, ticks

__all__ = [
    "PAD",
    "Axis",
    "bar",
    "columns",
    "dot",
    "line",
    "month_marks",
    "months",
    "path",
    "plot",
    "text",
    "ticks",
]


def months(start: datetime, end: datetime) -> list[datetime]:
    """The first of each month inside [start, end]."""
    first = start.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    marks = []
    while first <= end:
        if first >= start:
            marks.append(first)
        first = (first + timedelta(days=32)).replace(day=1)
    return marks


def plot(height: int, y: Axis | None, y_marks: Iterable[tuple[float, str]], body: str, label: str) -> str:
    """A labelled y axis beside a plot that fills what is left of the width. `y_marks` are (pixel, text)."""
    marks = list(y_marks)
    grid = "".join(line(0, at, 100, at, "grid") for at, _ in marks) if y else ""
    names = "".join(f'<text class="tick" x="100%" y="{at + 4}" text-anchor="end">{escape(name)}</text>'
                    for at, name in marks)  # fmt: skip
    return (
        f'<div class="plot" role="img" aria-label="{escape(label)}">'
        f'<svg class="names{"" if y else " wide"}" height="{height}">{names}</svg>'
        f'<svg class="area" height="{height}">{grid}{body}</svg></div>'
    )


def month_marks(x: Axis, start: datetime, end: datetime, height: int) -> str:
    """Month names under a plot, with a faint line at each first of the month."""
    body = ""
    for month in months(start, end):
        at = x.at(month.timestamp())
        body += line(at, 0, at, height - 18, "grid") + text(at, height - 4, f"{month:%b}")
    return body


def columns(values: Sequence[tuple[float, str]], tips: Sequence[str]) -> str:
    """Heat-map cells: (strength 0..1, extra class) each; a table row's inside."""
    return "".join(
        f'<td class="{css}" style="--heat:{100 * min(max(strength, 0), 1):.0f}%" title="{escape(tip)}"></td>'
        for (strength, css), tip in zip(values, tips, strict=True)
    )
