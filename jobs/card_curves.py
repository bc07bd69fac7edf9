"""The model card's curves, with the champion's behind. HTML, or empty where the task has none."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from jobs.monitor import charts
from jobs.monitor.charts import Axis
from jobs.monitor.wording import grouped, interval, number
from jobs.spec import BINARY

HEIGHT, FOOT = 210, 34  # pixels


def curves(evaluation: dict[str, Any]) -> str:
    """ROC, precision and recall, calibration; the champion's behind."""
    ours = evaluation["challenger"].get("curves") or {}
    theirs = (evaluation.get("champion") or {}).get("curves") or {}
    figures = evaluation["challenger"]["metrics"]
    cards = ""
    if ours.get("roc"):
        area = f"area {interval(figures['roc_auc'])}"
        guess = [(0.0, 0.0), (1.0, 1.0)]
        labels = ("false positive rate", "true positive rate")
        cards += _curve("ROC", ours["roc"], theirs.get("roc"), guess, labels, area)
    if ours.get("pr"):
        area = f"average precision {interval(figures['pr_auc'])}"
        cards += _curve(
            "Precision and recall", ours["pr"], theirs.get("pr"), [], ("recall", "precision"), area
        )
    cards += _calibration(evaluation, ours.get("calibration"), theirs.get("calibration"))
    if not cards:
        return ""
    key = '<i class="now"></i>this model <i class="then"></i>the champion' if theirs else ""
    legend = f'<p class="soft"><span class="key curves">{key}</span></p>' if key else ""
    return f"{legend}<div class='cards'>{cards}</div>"


def _curve(
    title: str,
    ours: Sequence[Sequence[float]],
    theirs: Sequence[Sequence[float]] | None,
    guess: list[tuple[float, float]],
    labels: tuple[str, str],
    caption: str,
) -> str:
    x, y = Axis(0, 1, 1, 99), Axis(0, 1, HEIGHT - FOOT, 8)
    body = _x_axis(x, labels[0])
    for points, css in ((guess, "guess"), (theirs or [], "then"), (ours, "curve")):
        body += charts.path([(x.at(a), y.at(b)) for a, b in points], css)
    marks = [(y.at(value), f"{value:g}") for value in (0, 0.25, 0.5, 0.75, 1)]
    plot = charts.plot(HEIGHT, marks, body, f"{title}: {caption}")
    return (
        f'<figure class="card"><h3>{escape(title)}</h3><span class="axis">{escape(labels[1])}</span>{plot}'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _calibration(evaluation: dict[str, Any], ours: Any, theirs: Any) -> str:
    """What was predicted against what came true, a tenth of the rows a dot."""
    if not ours:
        return ""
    known = [point[key] for point in [*ours, *(theirs or [])] for key in ("predicted", "actual")]
    low, high = min(known), max(known)
    if evaluation["task"] == BINARY:
        low = 0.0  # a probability
    room = (high - low) * 0.04 or 1.0
    x, y = Axis(low, high + room, 1, 99), Axis(low, high + room, HEIGHT - FOOT, 8)
    body = _x_axis(x, "predicted") + charts.path([(x.at(v), y.at(v)) for v in (low, high + room)], "guess")
    for points, css in ((theirs or [], "ring"), (ours, "now")):
        for point in points:
            tip = f"predicted {number(point['predicted'])}, came true {number(point['actual'])}"
            tip += f" on {grouped(point['rows'])} rows"
            body += charts.dot(x.at(point["predicted"]), y.at(point["actual"]), css, tip)
    ece = evaluation["challenger"]["metrics"].get("ece") or {}
    said = "On the line, what was predicted came true."
    if ece.get("value") is not None:
        said = f"ECE {interval(ece)}. {said}"
    marks = [(y.at(value), f"{value:g}") for value in charts.ticks(low, high, 4)]
    plot = charts.plot(HEIGHT, marks, body, said)
    return (
        f'<figure class="card"><h3>Calibration</h3><span class="axis">came true</span>{plot}'
        f"<figcaption>{escape(said)}</figcaption></figure>"
    )


def _x_axis(x: Axis, label: str) -> str:
    marks = charts.ticks(x.low, x.high, 4)
    body = ""
    for value in marks:
        anchor = "start" if x.at(value) < 4 else "end" if x.at(value) > 96 else "middle"
        body += charts.text(x.at(value), HEIGHT - FOOT + 15, f"{value:g}", anchor=anchor)
    return body + charts.text(50, HEIGHT - 4, label)
