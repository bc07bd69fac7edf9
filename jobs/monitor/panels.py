"""The report's panels: quality over time, bias, attribution. Each is HTML, or empty where the window has
nothing of the kind."""

from __future__ import annotations

from html import escape
from typing import Any

from jobs.monitor import charts
from jobs.monitor.bias_metrics import NAMES
from jobs.monitor.charts import Axis
from jobs.monitor.wording import day, interval, number, percent, short, unique, when, words

HEIGHT = 190
FOOT = 20
MOST_PANELS = 3
LISTED_FACETS = 12


def quality(analysis: dict[str, Any], history: list[dict[str, Any]]) -> str:
    """Watched metric first: each window with its interval, the baseline's band behind."""
    names = unique([analysis.get("watched") or "", "roc_auc", *analysis["quality"]])
    figures = ""
    for name in [name for name in names if name in analysis["quality"]][:MOST_PANELS]:
        figures += _over_windows(name, analysis, history)
    return figures


def _over_windows(name: str, analysis: dict[str, Any], history: list[dict[str, Any]]) -> str:
    points = [
        (entry, entry["quality"][name])
        for entry in history
        if (entry.get("quality") or {}).get(name, {}).get("value") is not None
    ]
    if not points:
        return ""
    reference = analysis["quality"][name].get("reference") or {}
    limit = next(
        (found["threshold"] for found in analysis["violations"] if found.get("metric") == name), None
    )
    values = [figure[key] for _, figure in points for key in ("value", "low", "high")]
    values += [reference.get(key) for key in ("value", "low", "high")] + [limit]
    known = [value for value in values if value is not None]
    margin = (max(known) - min(known)) * 0.08 or abs(known[0]) * 0.1 or 0.1
    y = Axis(min(known) - margin, max(known) + margin, HEIGHT - FOOT, 8)
    start, end = (_middle(entry) for entry in (points[0][0], points[-1][0]))
    wide = (end - start) * 0.03 or 1.0
    x = Axis(start - wide, end + wide)
    body = ""
    if reference.get("low") is not None and reference.get("high") is not None:
        top, bottom = y.at(reference["high"]), y.at(reference["low"])
        body += charts.bar(0, top, 100, max(bottom - top, 1), "band", f"baseline {interval(reference)}")
    if reference.get("value") is not None:
        body += charts.line(0, y.at(reference["value"]), 100, y.at(reference["value"]), "then")
    if limit is not None:
        body += charts.line(0, y.at(limit), 100, y.at(limit), "limit")
    line = [(x.at(_middle(entry)), y.at(figure["value"])) for entry, figure in points]
    body += charts.path(line, "thin")
    for (entry, figure), (left, top) in zip(points, line, strict=True):
        tip = f"{day(entry['start'])} to {day(entry['end'])}: {interval(figure)}"
        if figure.get("low") is not None and figure.get("high") is not None:
            body += charts.line(left, y.at(figure["low"]), left, y.at(figure["high"]), "range")
        is_bad = name in entry.get("violated", ())
        body += charts.dot(left, top, "bad" if is_bad else "now", tip, 5 if is_bad else 4)
    body += _dates(points, x)
    marks = [(y.at(value), short(value)) for value in charts.ticks(y.low, y.high, 4)]
    shown = f"{words(name)} {interval(analysis['quality'][name])}"
    return (
        f"<figure><h3>{escape(words(name))}</h3>{charts.plot(HEIGHT, marks, body, shown)}"
        f"<figcaption>{escape(shown)} in this window"
        f"{', ' + interval(reference) + ' at the baseline' if reference else ''}.</figcaption></figure>"
    )


def _dates(points: list[tuple[dict[str, Any], Any]], x: Axis) -> str:
    chosen = points if len(points) <= 5 else [points[round(at * (len(points) - 1) / 4)] for at in range(5)]
    body = ""
    for entry, _ in chosen:
        at = x.at(_middle(entry))
        anchor = "start" if at < 6 and len(points) > 1 else "end" if at > 94 else "middle"
        moment = when(entry["start"])
        body += charts.text(at, HEIGHT - 4, f"{moment.day} {moment:%b}", anchor=anchor)
    return body


def _middle(entry: dict[str, Any]) -> float:
    return (when(entry["start"]).timestamp() + when(entry["end"]).timestamp()) / 2


def bias(analysis: dict[str, Any]) -> str:
    """A row for each group and judged metric: its interval now, its value then, and where no bias lies."""
    rows = []
    broken = {
        (f"{found.get('facet')}={found.get('facet_value')}", found.get("metric"))
        for found in analysis["violations"]
    }
    for group, figures in (analysis.get("bias") or {}).items():
        for name, figure in figures.items():
            if (
                figure.get("value") is None
                or figure.get("baseline") is None
                or not figure.get("judged", True)
            ):
                continue
            change = abs(figure["value"] - figure["baseline"])
            rows.append(((group, name) in broken, figure.get("t") or 0.0, change, group, name, figure))
    rows.sort(key=lambda row: (not row[0], -row[1], -row[2]))
    shown = rows[:LISTED_FACETS]
    if not shown:
        return ""
    reach = {metric: _reach(metric, [row[5] for row in shown if row[4] == metric]) for *_, metric, _ in shown}
    others = max((value for metric, value in reach.items() if metric != "DI"), default=0.0)
    body = "".join(
        _bias_row(group, name, figure, bad, reach[name] if name == "DI" else others)
        for bad, _, _, group, name, figure in shown
    )
    more = len(rows) - LISTED_FACETS
    said = f"The {LISTED_FACETS} that moved most; {more} more are in the table below. " if more > 0 else ""
    used = "; ".join(f"{name} {NAMES[name]}" for name in unique(row[4] for row in shown) if name in NAMES)
    head = "<span>group</span><span>metric</span><span></span><span>now</span>"
    return (
        f'<figure><div class="spans"><div class="span head">{head}</div>{body}</div>'
        f"<figcaption>{said}The dot is this window with its 95 % interval, the ring the baseline; the line "
        f"in the middle is no difference between groups. {escape(used)}.</figcaption></figure>"
    )


def _reach(name: str, figures: list[dict[str, Any]]) -> float:
    """How far a row's scale goes to either side of no difference: the same for rows that compare."""
    values = [figure.get(key) for figure in figures for key in ("value", "low", "high", "baseline")]
    return max(0.1, *(abs(value - _neutral(name)) for value in values if value is not None)) * 1.05


def _neutral(name: str) -> float:
    return 1.0 if name == "DI" else 0.0


def _bias_row(group: str, name: str, figure: dict[str, Any], is_bad: bool, reach: float) -> str:
    neutral = _neutral(name)
    x = Axis(neutral - reach, neutral + reach)
    css = "bad" if is_bad else "now"
    body = charts.line(50, 0, 50, 18, "grid")
    if figure.get("low") is not None and figure.get("high") is not None:
        body += charts.line(x.at(figure["low"]), 9, x.at(figure["high"]), 9, "range")
    body += charts.dot(x.at(figure["baseline"]), 9, "ring", f"baseline {number(figure['baseline'])}", 4)
    body += charts.dot(x.at(figure["value"]), 9, css, interval(figure), 4)
    mark = ' class="over"' if is_bad else ""
    return (
        f'<div class="span"><span{mark}>{escape(group)}</span><span>{escape(name)}</span>'
        f'<svg height="18">{body}</svg><span class="n">{number(figure["value"])}</span></div>'
    )


def attribution(analysis: dict[str, Any]) -> str:
    """Shares of the mean |SHAP| value, then and now."""
    found = analysis.get("attribution") or {}
    features = found.get("features") or {}
    if not features:
        return ""
    shares = {
        name: (entry.get("baseline") or 0.0, entry.get("share") or 0.0) for name, entry in features.items()
    }
    order = sorted(shares, key=lambda name: -max(shares[name]))[:LISTED_FACETS]
    top = max(1e-9, *(max(shares[name]) for name in order))
    body = "".join(
        f'<div class="kind"><span title="{escape(name)}">{escape(name)}</span><div>'
        f'<i class="now" style="width:{100 * shares[name][1] / top:.1f}%"></i>'
        f'<i class="then" style="width:{100 * shares[name][0] / top:.1f}%"></i></div>'
        f"<b>{percent(shares[name][1])}</b></div>"
        for name in order
    )
    said = f"nDCG {number(found.get('ndcg'))} (1 is the same order), L1 distance {number(found.get('l1'))}."
    return f'<figure><div class="kinds wide">{body}</div><figcaption>{said}</figcaption></figure>'
