"""Inline SVG without a library: every chart keeps its text at one size from a phone to a wide screen.

x runs in percent of the plot's width and y in pixels, so an SVG stretches sideways without a viewBox and its
letters never shrink. Colours are classes: the page's style sheet gives each one a light and a dark value.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

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
    if not high > low:
        return [low]
    raw = (high - low) / count
    power = 10 ** math.floor(math.log10(raw))
    step = next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def title(text: str) -> str:
    return f"<title>{escape(text)}</title>"


def line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    return f'<line class="{css}" x1="{x1:g}%" y1="{y1:g}" x2="{x2:g}%" y2="{y2:g}"/>'


def text(x: float, y: float, words: str, css: str = "tick", anchor: str = "middle") -> str:
    return f'<text class="{css}" x="{x:g}%" y="{y:g}" text-anchor="{anchor}">{escape(words)}</text>'


def bar(x: float, y: float, width: float, height: float, css: str, tip: str = "") -> str:
    """From the left edge x and the top edge y."""
    size = f'width="{max(width, 0):.3f}%" height="{max(height, 0):.2f}"'
    return f'<rect class="{css}" x="{x:g}%" y="{y:g}" {size}>{title(tip) if tip else ""}</rect>'


def dot(x: float, y: float, css: str, tip: str, radius: float = 4) -> str:
    return f'<circle class="{css}" cx="{x:g}%" cy="{y:g}" r="{radius}">{title(tip)}</circle>'


def path(points: Sequence[tuple[float, float]], css: str) -> str:
    """In an SVG of its own that is stretched: a polyline cannot take percentages. Its stroke is not."""
    places = " ".join(f"{x:g},{y:g}" for x, y in points)
    return (
        '<svg viewBox="0 0 100 100" width="100%" height="100" preserveAspectRatio="none">'
        f'<polyline class="{css}" points="{places}" vector-effect="non-scaling-stroke"/></svg>'
    )


def plot(height: int, y_marks: Iterable[tuple[float, str]], body: str, label: str) -> str:
    """A labelled y axis beside a plot that fills what is left of the width. `y_marks` are (pixel, text)."""
    marks = list(y_marks)
    grid = "".join(line(0, at, 100, at, "grid") for at, _ in marks)
    names = "".join(
        f'<text class="tick" x="100%" y="{at + 4:g}" text-anchor="end">{escape(name)}</text>'
        for at, name in marks
    )
    return (
        f'<div class="plot" role="img" aria-label="{escape(label)}">'
        f'<svg class="names" height="{height}">{names}</svg>'
        f'<svg class="area" height="{height}">{grid}{body}</svg></div>'
    )
