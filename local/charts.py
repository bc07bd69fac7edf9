"""Inline SVG without a library: every chart keeps its text at one size from a phone to a wide screen.

x runs in percent of the plot's width and y in pixels, so an SVG stretches sideways without a viewBox and its
letters never shrink. Colours are classes: report.css gives each one a light and a dark value.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape
from itertools import pairwise

PAD = 14  # room above and below a plot, pixels


@dataclass(frozen=True)
class Axis:
    """A linear scale from data to a span; `at` does not clip."""

    low: float
    high: float
    start: float = 0.0
    end: float = 100.0

    def at(self, value: float) -> float:
        if self.high == self.low:
            return (self.start + self.end) / 2
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 3)


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers inside [low, high], about `count` of them."""
    if high <= low:
        return [low]
    raw = (high - low) / count
    power = 10 ** math.floor(math.log10(raw))
    step = next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= raw)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def months(start: datetime, end: datetime) -> list[datetime]:
    """The first of each month inside [start, end]."""
    first = start.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    marks = []
    while first <= end:
        if first >= start:
            marks.append(first)
        first = (first + timedelta(days=32)).replace(day=1)
    return marks


def title(text: str) -> str:
    return f"<title>{escape(text)}</title>"


def line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    return f'<line class="{css}" x1="{x1}%" y1="{y1}" x2="{x2}%" y2="{y2}"/>'


def text(x: float, y: float, words: str, css: str = "tick", anchor: str = "middle") -> str:
    return f'<text class="{css}" x="{x}%" y="{y}" text-anchor="{anchor}">{escape(words)}</text>'


def bar(x: float, y: float, width: float, height: float, css: str, tip: str) -> str:
    return (
        f'<rect class="{css}" x="{x}%" y="{y}" width="{round(max(width, 0), 3)}%" height="{height}">'
        f"{title(tip)}</rect>"
    )


def dot(x: float, y: float, css: str, tip: str, radius: float = 4) -> str:
    return f'<circle class="{css}" cx="{x}%" cy="{y}" r="{radius}">{title(tip)}</circle>'


def path(points: Sequence[tuple[float, float]], css: str) -> str:
    """Straight segments: a polyline cannot take percentages."""
    return "".join(line(*a, *b, css) for a, b in pairwise(points))


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
