"""out/loop/report.html: one file that shows what a run of the loop did, with nothing to fetch.

`render(record)` takes a run's record (loop.json: local/record.py has its keys) and returns the page. It only
reads, so a page can be made again from a kept record: `python -m local.report out/loop/loop.json`.
"""

from __future__ import annotations

import json
import sys
from html import escape
from pathlib import Path

from local import figures, rollbacks
from local.figures import LOWER_IS_BETTER
from local.page import key, section, table, tag
from local.record import changes, telling
from local.wording import clock, day, grouped, interval, number, short_day, span, who, why


def write(record: dict, path: Path) -> Path:
    path.write_text(render(record), encoding="utf-8")
    return path


def render(record: dict) -> str:
    css = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
    parts = (
        head,
        quality,
        before_after,
        champions,
        rollbacks.section,
        canaries,
        drift,
        timeline,
        decisions,
        windows,
        executions,
    )
    body = "\n".join(part(record) for part in parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Evergreen: the loop for {escape(record['model'])}</title>\n<style>\n{css}</style></head>\n"
        f"<body><main>\n{body}\n<footer>Read from the run's record, <code>loop.json</code>, beside this file."
        "</footer></main></body></html>\n"
    )


def head(record: dict) -> str:
    closed = record["closed"]
    badge, title = (
        ("The loop closed", headline(record)) if closed else ("The loop did not close", "Not closed")
    )
    lead = "Every step was started by the event that starts it on AWS." if closed else record["missing"]
    counts, seconds = record["counts"], record["seconds"]
    setup = f", after {clock(seconds['setup'])} of set-up" if seconds.get("setup") else ""
    tiles = (
        (str(len(record["champions"])), "champions"),
        (str(len(record["executions"])), "executions"),
        (grouped(counts["predictions"]), "predictions"),
        (grouped(counts["labels"]), "labels"),
        (clock(seconds["run"]), f"the run{setup}"),
        (f"{record['peak_mb'] / 1024:.1f} GB", "memory at its peak"),
    )
    cells = "".join(
        f'<div class="tile"><b>{value}</b><span>{escape(name)}</span></div>' for value, name in tiles
    )
    world = f"Replayed: {day(record['world']['from'])} to {day(record['world']['until'])}."
    return (
        f'<header><span class="verdict{"" if closed else " open"}">{badge}</span><h1>{escape(title)}</h1>'
        f'<p>{escape(lead)} <span class="soft">{world}</span></p><div class="tiles">{cells}</div></header>'
    )


def headline(record: dict) -> str:
    """The last champion that a violation called, beside the oldest one that it was compared to."""
    last = [champion for champion in record["champions"][1:] if champion["cause"]["kind"] == "violation"][-1]
    said = f"Version {last['version']} took over on {day(last['promoted_at'])}, after a violation"
    shown = [row for row in record["before_after"]
             if row["metric"] == record["primary"] and row["new_version"] == last["version"]]  # fmt: skip
    if not shown:
        return said
    row = min(shown, key=lambda row: row["old_version"])
    said += f": {row['metric']} {number(row['new'])}, where v{row['old_version']} has {number(row['old'])}"
    return f"{said}, on the same {grouped(row['rows'])} rows"


def quality(record: dict) -> str:
    measured = [window for window in record["windows"] if window["quality"]]
    if not measured:
        return ""
    names = [
        name
        for name in dict.fromkeys((record["quality"], record["primary"]))
        if name in measured[0]["quality"]
    ]
    legend = key(
        ("new", "champion in service, with its interval"),
        ("violation", "a violation of quality"),
        ("hollow", "the replaced model on the same rows"),
    )
    charts = "".join(figures.metric(record, measured, name) for name in names)
    return section(
        "Quality, week by week",
        "Measured on each week's own rows once their labels were in. Dotted: what the champion showed "
        "when it was trained. A green line marks the day on which a version took over, a red one that of a "
        "version that came back.",
        legend + charts,
    )


def before_after(record: dict) -> str:
    tables = "".join(map(one_change, changes(record)))
    if not tables:
        return ""
    return section(
        "Before and after, on the same rows",
        "Each champion beside the one that it replaced (the last one beside the first too): both scored the "
        "rows of the weeks after the change, which neither saw in training.",
        tables,
    )


def one_change(rows: list[dict]) -> str:
    first = rows[0]
    old, new = f"v{first['old_version']}", f"v{first['new_version']}"
    body = table(("metric", old, new, "change"), map(comparison, rows), numeric=(1, 2, 3), stack=False)
    weeks = f"{grouped(first['rows'])} rows, {day(first['from'])} to {day(first['to'])}"
    return f"<figure><h3>{old} → {new} <small>{weeks}</small></h3>{body}</figure>"


def comparison(row: dict) -> tuple[str, ...]:
    change = row["new"] - row["old"]
    better = (change < 0) == (row["metric"] in LOWER_IS_BETTER)
    mark = f'<span class="{"better" if better else "worse"}">{change:+.3f}</span>'
    return escape(row["metric"]), number(row["old"]), number(row["new"]), mark


def champions(record: dict) -> str:
    if not record["champions"]:
        return ""
    heads = ("version", "in service from", "caused by", "on its holdout", "approved by")
    rows = (champion_row(champion, record) for champion in record["champions"])
    return section("Champions", "", f"<figure>{table(heads, rows)}</figure>")


def champion_row(champion: dict, record: dict) -> tuple[str, ...]:
    before = champion.get("predecessor") or {}
    held = champion.get("holdout") or {}
    figures_ = ""
    for name in leading(champion["metrics"], record):
        rest = f", predecessor {number(before[name]['value'])}" if name in before else ""
        low_high = interval(champion["metrics"][name]).partition(" ")[2]
        value = number(champion["metrics"][name]["value"])
        figures_ += f"<div>{escape(name)} <b>{value}</b> <span class=soft>{low_high}{rest}</span></div>"
    if held.get("rows"):
        figures_ += f"<small>{grouped(held['rows'])} rows, {span(held, 'from', 'until')}</small>"
    return (
        f"<b>v{champion['version']}</b><small><code>{escape(champion['run'])}</code></small>",
        day(champion["promoted_at"]),
        escape(why(champion["cause"])),
        figures_,
        escape(who(champion["approved_by"])),
    )


def leading(metrics: dict, record: dict, limit: int = 3) -> list[str]:
    """The metrics that decide come first, then the rest as they stand in the evaluation."""
    first = [name for name in dict.fromkeys((record["primary"], record["quality"])) if name in metrics]
    return (first + [name for name in metrics if name not in first])[:limit]


def canaries(record: dict) -> str:
    shown = [deployment for deployment in record["deployments"] if deployment["samples"]]
    if not shown:
        return ""
    return section(
        "The canaries",
        "Which fleet answered, second by second, from the endpoint's own Invocations metric.",
        key(("old", "the fleet in service"), ("new", "the new fleet"), ("failed", "its 5XX answers"))
        + "".join(map(figures.canary, shown)),
    )


def drift(record: dict) -> str:
    if not any(window["features"] for window in record["windows"]):
        return ""
    legend = key(("heat", "distance, as a share of what is allowed"), ("over", "a violation"))
    return section(
        "Drift, feature by window",
        "Each week's distance from the champion's training data; a new champion brings a new baseline. What "
        "model.yaml calls seasonal is in italics: it may move and is never a violation.",
        f"{legend}<figure>{figures.drift(record)}</figure>",
    )


def timeline(record: dict) -> str:
    story = "".join(story_line(execution) for execution in record["executions"] if telling(execution))
    return section(
        "Timeline",
        "Each execution in the run's own seconds; the world waits while one runs. Windows without findings "
        "and requests that were dropped are in the tables at the end.",
        f'<figure>{figures.timeline(record)}</figure><ol class="story">{story}</ol>',
    )


def story_line(execution: dict) -> str:
    steps = " → ".join(f"{name} {seconds:.1f} s" for name, seconds in steps_of(execution).items())
    said = f": {execution['reason']}" if execution["reason"] else ""
    return (
        f"<li><time>{short_day(execution['at'])}<br>{clock(execution['start'])}</time><div>"
        f"<b>{escape(execution['machine'])}</b> {escape(execution['ended_in'])}{escape(said)} "
        f'<div class="why">because of {escape(why(execution["cause"]))}</div>'
        f"<details><summary>{len(steps_of(execution))} states, {clock(execution['seconds'])}</summary>"
        f'<div class="states">{escape(steps)}</div></details></div></li>'
    )


def steps_of(execution: dict) -> dict[str, float]:
    """State -> seconds, in order; a state that was entered again counts once, with all of its time."""
    found: dict[str, float] = {}
    for state in execution["states"]:
        found[state["name"]] = found.get(state["name"], 0) + state["seconds"]
    return found


def decisions(record: dict) -> str:
    if not record["decisions"]:
        return ""
    rows = (
        (
            short_day(made["at"]),
            escape(why(made["signal"])),
            tag(made["decision"]),
            escape(made["reason"]),
        )
        for made in record["decisions"]
    )
    heads = ("on", "signal", "decision", "reason")
    lead = "What respond made of each signal, as the ledger has it."
    return section("Decisions", lead, f"<figure>{table(heads, rows)}</figure>")


def windows(record: dict) -> str:
    if not record["windows"]:
        return ""
    rows = (
        (
            span(window),
            grouped(window["rows"]),
            grouped(window["labelled"]),
            escape(window["status"]),
            "<br>".join(escape(violation["description"]) for violation in window["violations"]) or "none",
        )
        for window in record["windows"]
    )
    body = table(("window", "rows", "labelled", "status", "violations"), rows, numeric=(1, 2))
    return (
        f"<details><summary>All {len(record['windows'])} windows</summary><figure>{body}</figure></details>"
    )


def executions(record: dict) -> str:
    rows = (
        (
            short_day(execution["at"]),
            escape(execution["machine"]),
            escape(execution["status"]),
            f"{execution['seconds']:.1f} s",
            escape(execution["ended_in"]),
            f"<code>{escape(execution['cause_event_id'])}</code><small>{escape(why(execution['cause']))}</small>",
        )
        for execution in record["executions"]
    )
    body = table(("on", "machine", "status", "took", "ended in", "cause"), rows, numeric=(3,))
    title = f"All {len(record['executions'])} executions, with the event that started each"
    return f"<details><summary>{title}</summary><figure>{body}</figure></details>"


if __name__ == "__main__":
    source = Path(sys.argv[1] if len(sys.argv) > 1 else "out/loop/loop.json")
    print(write(json.loads(source.read_text(encoding="utf-8")), source.with_name("report.html")))
