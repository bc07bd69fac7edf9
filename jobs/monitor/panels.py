"""The report's panels: quality over time, bias, attribution. Each is HTML, or empty where the window has
nothing of the kind."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

from jobs.monitor import charts
from jobs.monitor.bias_metrics import NAMES
from jobs.monitor.charts import Axis
from jobs.monitor.wording import BIAS, day, grouped, interval, number, percent, short, unique, when, words

HEIGHT = 190
FOOT = 20
DATE = 16.0  # percent of the width that a date takes on a phone
MOST_PANELS = 3
LISTED_FACETS = 12


def quality(analysis: dict[str, Any], history: list[dict[str, Any]]) -> str:
    """Watched metric first: each window with its interval, the baseline's band behind."""
    names = unique([analysis.get("watched") or "", "roc_auc", *analysis["quality"]])
    figures = ""
    for name in [name for name in names if name in analysis["quality"]][:MOST_PANELS]:
        figures += _over_windows(name, analysis, history)
        figures += _over_days(analysis) if name == analysis.get("watched") else ""
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
    y, x = _heights(values), _times([_middle(entry) for entry, _ in points])
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
        is_ours = entry.get("baseline") == analysis.get("baseline")
        tip += "" if is_ours else ", by the version before"
        if figure.get("low") is not None and figure.get("high") is not None:
            body += charts.line(left, y.at(figure["low"]), left, y.at(figure["high"]), "range")
        is_bad = name in entry.get("violated", ())
        css = "bad" if is_bad else "now" if is_ours else "ring"
        body += charts.dot(left, top, css, tip, 5 if is_bad else 4)
    body += _dates((left, entry["start"]) for (left, _), (entry, _) in zip(line, points, strict=True))
    shown = f"{words(name)} {interval(analysis['quality'][name])} in this window"
    shown += f", {interval(reference)} at the baseline (the band)" if reference else ""
    shown += f"; a violation lies beyond {number(limit)}" if limit is not None else ""
    if any(entry.get("baseline") != analysis.get("baseline") for entry, _ in points):
        shown += "; rings are windows of the version before"
    return _figure(words(name), y, body, f"{shown}.")


def _over_days(analysis: dict[str, Any]) -> str:
    """What the evidence is made of: the mean loss of each day, beside what is tolerated."""
    found = analysis.get("detector") or {}
    days = found.get("days") or []
    if len(days) < 2:
        return ""
    limit = found["baseline"] + found["tolerance"]
    moments = [when(one["at"]).timestamp() for one in days]
    x, y = _times(moments), _heights([one["loss"] for one in days] + [found["baseline"], limit])
    window = [when(analysis["window"][side]).timestamp() for side in ("start", "end")]
    left, right = (min(max(x.at(moment), 0.0), 100.0) for moment in window)
    body = charts.bar(left, 0, right - left, HEIGHT - FOOT, "span", "this window")
    body += charts.line(0, y.at(found["baseline"]), 100, y.at(found["baseline"]), "then")
    body += charts.line(0, y.at(limit), 100, y.at(limit), "limit")
    for one, moment in zip(days, moments, strict=True):
        tip = f"{day(one['at'])}: {number(one['loss'])} on {grouped(one['rows'])} rows"
        css = "bad" if one["loss"] > limit else "now"
        body += charts.dot(x.at(moment), y.at(one["loss"]), css, tip, 3.5)
    body += _dates((x.at(moment), one["at"]) for one, moment in zip(days, moments, strict=True))
    over = sum(one["loss"] > limit for one in days)
    said = f"{over} of {len(days)} lie over {number(limit)}: {number(found['baseline'])} at the baseline and "
    said += f"the tolerance of {number(found['tolerance'])}. Shaded: this window."
    is_daily = all(one["at"].endswith("T00:00:00Z") for one in days)
    return _figure(f"{words(found['loss'])} by {'day' if is_daily else 'block'}", y, body, said)


def _figure(name: str, y: Axis, body: str, caption: str) -> str:
    marks = [(y.at(value), short(value)) for value in charts.ticks(y.low, y.high, 4)]
    plot = charts.plot(HEIGHT, marks, body, f"{name}: {caption}")
    return f"<figure><h3>{escape(name)}</h3>{plot}<figcaption>{escape(caption)}</figcaption></figure>"


def _heights(values: list[float | None]) -> Axis:
    known = [value for value in values if value is not None]
    margin = (max(known) - min(known)) * 0.08 or abs(known[0]) * 0.1 or 0.1
    return Axis(min(known) - margin, max(known) + margin, HEIGHT - FOOT, 8)


def _times(moments: list[float]) -> Axis:
    """Seconds, in order."""
    wide = (moments[-1] - moments[0]) * 0.03 or 1.0
    return Axis(moments[0] - wide, moments[-1] + wide)


def _dates(marks: Iterable[tuple[float, str]]) -> str:
    """As many dates as a phone has room for, the last among them. `marks`: (percent, ISO 8601), in order."""
    body, free = "", 200.0
    for at, start in reversed(list(marks)):
        left = min(max(at - DATE / 2, 0.0), 100.0 - DATE)
        if left + DATE > free:
            continue
        free = left
        moment = when(start)
        anchor, edge = ("middle", at) if left == at - DATE / 2 else ("start", 0) if at < 50 else ("end", 100)
        body += charts.text(edge, HEIGHT - 4, f"{moment.day} {moment:%b}", anchor=anchor)
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
            if figure.get("value") is None or figure.get("baseline") is None:
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
    head = "<span>group</span><span>metric</span><span></span><span>then → now</span>"
    return (
        f'<figure><div class="spans"><div class="span head">{head}</div>{body}</div>'
        f"<figcaption>{said}The dot is this window with its 95 % interval, the ring the baseline; the line "
        f"in the middle is no difference between groups. {escape(used)}.</figcaption></figure>"
    )


def bias_lead(analysis: dict[str, Any]) -> str:
    """How many of the figures are violations, as a large move of a small group need not be one; and what of a
    label or a prediction they count."""
    figures = [figure for group in (analysis.get("bias") or {}).values() for figure in group.values()]
    judged = sum(figure.get("t") is not None for figure in figures)
    broken = sum(found["constraint_check_type"] == BIAS for found in analysis["violations"])
    outcome = analysis.get("outcome")
    counted = f" The outcome that counts is {escape(outcome)}." if outcome else ""
    if not judged and not broken:
        return f"Shown, not judged.{counted}" if figures else ""
    said = "is a violation" if broken < 2 else "are violations"
    return f"{broken or 'None'} of {judged} figures, judged together, {said}.{counted}"


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
    body = charts.line(50, 0, 50, 18, "zero")
    if figure.get("low") is not None and figure.get("high") is not None:
        body += charts.line(x.at(figure["low"]), 9, x.at(figure["high"]), 9, "range")
    body += charts.dot(x.at(figure["baseline"]), 9, "ring", f"baseline {number(figure['baseline'])}", 4)
    body += charts.dot(x.at(figure["value"]), 9, css, interval(figure), 4)
    mark = ' class="over"' if is_bad else ""
    return (
        f'<div class="span"><span{mark}>{escape(group)}</span><span>{escape(name)}</span>'
        f'<svg height="18" aria-hidden="true">{body}</svg>'
        f'<span class="n">{number(figure["baseline"])} → {number(figure["value"])}</span></div>'
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
        f"<b>{percent(shares[name][0])} → {percent(shares[name][1])}</b></div>"
        for name in order
    )
    said = f"nDCG {number(found.get('ndcg'))} (1 is the same order), L1 distance {number(found.get('l1'))}"
    said += f", {number(found['threshold'])} is allowed." if found.get("threshold") is not None else "."
    return f'<figure><div class="kinds wide both">{body}</div><figcaption>{said}</figcaption></figure>'
