"""The charts of out/loop/report.html, each from the record (loop.json: local/record.py has its keys)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from html import escape

from local import charts
from local.charts import Axis
from local.wording import grouped, interval, number, short_day, span, when, why

LOWER_IS_BETTER = {"log_loss", "brier", "rmse", "mae", "mse"}
MACHINES = ("onboard", "train", "deploy", "batch", "monitor", "respond")
OUTCOMES = {"ModelDeployed": "promoted", "DeploymentRolledBack": "rolled back"}


def metric(record: dict, measured: list[dict], name: str) -> str:
    """One metric over the weeks: intervals, violations, retraining moments, the replaced model's shadow."""
    shown = with_rows(record)
    start, end = when(shown[0]["start"]), when(shown[-1]["end"])
    shadows = [week for week in record["weeks"] if name in week["old"]]
    scores = [window["quality"][name] for window in measured if name in window["quality"]]
    values = [
        score[key] for score in scores for key in ("value", "low", "high", "baseline") if score.get(key)
    ]
    values += [week["old"][name] for week in shadows]
    room = (max(values) - min(values)) * 0.08 or 0.01
    height, bottom = 210, 24
    y = Axis(max(values) + room, min(values) - room, charts.PAD, height - bottom)
    x = Axis(start.timestamp(), end.timestamp())
    body = charts.month_marks(x, start, end, height) + moments(record, x, start, height - bottom)
    body += "".join(charts.path(points, "new") for points in stretches(measured, name, x, y))
    for version in dict.fromkeys(week["new_version"] for week in shadows):
        points = [(x.at(middle(week, "from", "to")), y.at(week["old"][name]))
                  for week in shadows if week["new_version"] == version]  # fmt: skip
        body += charts.path(points, "old dashed")
    body += "".join(week_mark(window, name, x, y) for window in measured if name in window["quality"])
    for week in shadows:
        old, new = number(week["old"][name]), number(week["new"][name])
        tip = f"{span(week, 'from', 'to')}: the replaced model {old}, the new one {new}"
        body += charts.dot(x.at(middle(week, "from", "to")), y.at(week["old"][name]), "hollow", tip, 3.5)
    marks = [(y.at(value), f"{value:g}") for value in charts.ticks(min(values), max(values))]
    better = "lower is better" if name in LOWER_IS_BETTER else "higher is better"
    chart = charts.plot(height, y, marks, body, f"{name} per week")
    return f"<figure><h3>{escape(name)} <small>{better}</small></h3>{chart}</figure>"


def moments(record: dict, x: Axis, start: datetime, bottom: int) -> str:
    """A line at each champion's first day in service, and at each version that came back."""
    marks = [(champion["promoted_at"], f"v{champion['version']}", "") for champion in record["champions"]]
    marks += [(back["at"], f"v{back['version']} came back", " back") for back in record["rollbacks"]]
    body = ""
    for day, name, css in marks:
        at = min(x.at(max(when(day), start).timestamp()), 100)
        body += charts.line(at, 2, at, bottom, f"moment{css}")
        body += charts.text(at + 0.7, 11, name, f"mark{css}", "start")
    return body


def stretches(measured: list[dict], name: str, x: Axis, y: Axis) -> Iterable[list[tuple[float, float]]]:
    """The champion's line, broken where another version took over."""
    points, version = [], None
    for window in measured:
        if name not in window["quality"]:
            continue
        if window["version"] != version and points:
            yield points
            points = []
        version = window["version"]
        points.append((x.at(middle(window)), y.at(window["quality"][name]["value"])))
    yield points


def week_mark(window: dict, name: str, x: Axis, y: Axis) -> str:
    score, at, body = window["quality"][name], x.at(middle(window)), ""
    if score.get("baseline") is not None:
        level = y.at(score["baseline"])
        sides = (x.at(when(window[side]).timestamp()) for side in ("start", "end"))
        body += charts.line(next(sides), level, next(sides), level, "limit")
    if score.get("low") is not None:
        body += charts.line(at, y.at(score["low"]), at, y.at(score["high"]), "new range")
    hit = any(violation.get("metric") == name for violation in window["violations"])
    tip = f"{span(window)}, v{window['version']}: {name} {interval(score)}"
    return body + charts.dot(at, y.at(score["value"]), "violation" if hit else "new", tip, 6 if hit else 4)


def middle(record: dict, start: str = "start", end: str = "end") -> float:
    return (when(record[start]).timestamp() + when(record[end]).timestamp()) / 2


def canary(deployment: dict) -> str:
    """Each second's requests by the fleet that answered them."""
    samples, height, bottom = deployment["samples"], 150, 22
    last = max(sample["at"] for sample in samples) + 1
    x, y = Axis(0, last), Axis(1, 0, charts.PAD, height - bottom)
    old, new = f"v{deployment['previous']}", f"v{deployment['version']}"
    body, since = "", 0.0
    for sample in samples:
        left, right = x.at(since), x.at(sample["at"] + 1)
        since, total = sample["at"] + 1, sample["old"] + sample["new"]
        if not total:
            continue
        cut, width = y.at(sample["new"] / total), right - left - 0.25
        tip = f"second {sample['at']:.0f}: {sample['old']} to {old}, {sample['new']} to {new}"
        body += charts.bar(left, y.start, width, round(cut - y.start, 2), "old", tip)
        body += charts.bar(left, cut, width, round(y.end - cut, 2), "new", tip)
        if failed := sample["old_failed"] + sample["new_failed"]:
            top = y.at(failed / total)
            blamed = f"{sample['new_failed']} failed in {new}, {sample['old_failed']} in {old}"
            tip = f"second {sample['at']:.0f}: {blamed}"
            body += charts.bar(left, top, width, round(y.end - top, 2), "failed", tip)
    for second in charts.ticks(0, last, 5):
        body += charts.text(x.at(second), height - 5, f"{second:g} s")
    marks = [(y.at(share), f"{share:.0%}") for share in (0, 0.5, 1)]
    chart = charts.plot(height, y, marks, body, f"share of requests answered by {old} and {new}")
    sent, took = grouped(sum(s["old"] + s["new"] for s in samples)), deployment["seconds"]
    ended = OUTCOMES.get(deployment["outcome"], deployment["outcome"])
    return (
        f"<figure><h3>{old} → {new} <small>{escape(ended)}</small></h3>{chart}"
        f"<figcaption>{sent} requests while the deployment ran, {took:.0f} s.</figcaption></figure>"
    )


def drift(record: dict) -> str:
    """Features by windows: how far each has moved, as a share of what is allowed."""
    shown = with_rows(record)
    names = list(dict.fromkeys(name for window in shown for name in window["features"]))
    peak = {name: max(strength(window["features"].get(name)) for window in shown) for name in names}
    names.sort(key=lambda name: -peak[name])
    body = "".join(heat_row(name, shown) for name in names)
    heads, month = "", None
    for window in shown:
        start = when(window["start"])
        heads += f"<td>{start:%b}</td>" if start.month != month else "<td></td>"
        month = start.month
    return f'<table class="heat"><tbody>{body}<tr class="when"><th></th>{heads}</tr></tbody></table>'


def with_rows(record: dict) -> list[dict]:
    """The windows from the first one on that any row fell into."""
    first = next((at for at, window in enumerate(record["windows"]) if window["rows"]), 0)
    return record["windows"][first:]


def strength(feature: dict | None) -> float:
    """1 at the threshold."""
    if not feature or feature.get("distance") is None or not feature.get("threshold"):
        return 0.0
    return feature["distance"] / feature["threshold"]


def heat_row(name: str, shown: list[dict]) -> str:
    cells, tips = [], []
    for window in shown:
        feature = window["features"].get(name)
        over = any(violation["feature_name"] == name for violation in window["violations"])
        cells.append((strength(feature) * 0.75, "over" if over else "" if feature else "none"))
        said = (
            f"distance {number(feature['distance'])}, allowed {feature['threshold']}"
            if feature
            else window["status"]
        )
        tips.append(f"{name}, {span(window)}: {said}")
    seasonal = any(window["features"].get(name, {}).get("seasonal") for window in shown)
    shown_name = f"<em>{escape(name)}</em>" if seasonal else escape(name)
    return f'<tr><th title="{escape(name)}">{shown_name}</th>{charts.columns(cells, tips)}</tr>'


def timeline(record: dict) -> str:
    """Executions in real seconds, a lane per machine that ran."""
    lane, gap = 16, 8
    total = max([execution["start"] + execution["seconds"] for execution in record["executions"]] or [1])
    seen = {execution["machine"] for execution in record["executions"]}
    lanes = [machine for machine in MACHINES if machine in seen]
    x, height = Axis(0, total), len(lanes) * (lane + gap) + 24
    body = "".join(
        charts.line(x.at(second), 0, x.at(second), height - 20, "grid")
        + charts.text(x.at(second), height - 5, f"{second:g} s")
        for second in charts.ticks(0, total, 5)
    )
    for execution in record["executions"]:
        top = lanes.index(execution["machine"]) * (lane + gap) + gap / 2
        css = execution["machine"] if execution["status"] == "SUCCEEDED" else "failed"
        tip = (
            f"{execution['machine']} · {short_day(execution['at'])} · {execution['seconds']:.1f} s · "
            f"{execution['ended_in']} · {why(execution['cause'])}"
        )
        width = x.at(execution["seconds"])
        body += charts.bar(x.at(execution["start"]), top, max(width, 0.2), lane, f"{css} lane", tip)
    marks = [(row * (lane + gap) + gap / 2 + lane / 2, machine) for row, machine in enumerate(lanes)]
    return charts.plot(height, None, marks, body, "executions over the seconds of the run")
