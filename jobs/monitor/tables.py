"""The report's tables: every figure of analysis.json that the panels above leave out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from jobs.monitor.wording import grouped, interval, number, percent

CELLS = 400  # rows of a table: a page with ten thousand is read by nobody


def columns(figures: dict[str, dict[str, Any]], names: Sequence[str]) -> str:
    """Every column's verdict and distances, Model Monitor's own verdicts beside."""
    names = names[:CELLS]
    distances = list(dict.fromkeys(key for name in names for key in figures[name].get("distances") or {}))
    heads = [
        "column",
        "type",
        "effect",
        "allowed",
        "t",
        "p",
        "missing",
        "missing then",
        *(name.replace("_", " ") for name in distances),
        "Robust",
        "Simple",
    ]
    rows = []
    for name in names:
        figure = figures[name]
        theirs = figure.get("model_monitor") or {}
        cells: list[Any] = [escape(name), escape(figure.get("type") or "")]
        cells += [number(figure.get(key)) for key in ("distance", "threshold", "t", "p")]
        cells += [percent(figure.get(key)) for key in ("missing", "missing_baseline")]
        cells += [number((figure.get("distances") or {}).get(key)) for key in distances]
        cells += [_their_verdict(theirs.get(key)) for key in ("robust", "simple")]
        rows.append(cells)
    return scrolled(table(heads, rows, range(2, len(heads)), stack=False), "All columns") if rows else ""


def _their_verdict(verdict: Any) -> str:
    """Model Monitor's own, beside ours."""
    if not isinstance(verdict, dict):
        return "n/a"
    said = number(verdict.get("distance"))
    return f"<b>{said}</b>" if verdict.get("violation") else said


def bias(analysis: dict[str, Any]) -> str:
    rows = [
        (
            escape(group),
            escape(name),
            interval(figure),
            number(figure.get("baseline")),
            grouped(figure.get("rows") or 0),
        )
        for group, figures in (analysis.get("bias") or {}).items()
        for name, figure in figures.items()
    ][: 5 * CELLS]
    if not rows:
        return ""
    body = table(("group", "metric", "now", "baseline", "rows"), rows, (2, 3, 4), stack=False)
    return f"<details><summary>{len(rows)} figures</summary>{scrolled(body, 'All bias metrics')}</details>"


def settings(analysis: dict[str, Any]) -> str:
    """What the verdicts rest on, as written in analysis.json."""
    rows = []
    for section in ("drift", "detector", "calibration", "outliers", "duplicates"):
        content = analysis.get(section)
        if content is None:
            continue
        said = ", ".join(
            f"{key.replace('_', ' ')}: {_plain(value)}" for key, value in _items(content) if value != ""
        )
        rows.append((f"<b>{escape(section)}</b>", escape(said)))
    for section, reason in (analysis.get("unjudged") or {}).items():
        rows.append((f"<b>{escape(section)}</b>", f"not judged: {escape(reason)}"))
    return table(("part", "figures"), rows) if rows else ""


def _items(content: Any) -> list[tuple[str, Any]]:
    return list(content.items()) if isinstance(content, dict) else [("value", content)]


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return number(value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(entry)}" for key, entry in list(value.items())[:5])
    if isinstance(value, list | tuple):
        return f"{len(value)} entries" if len(value) > 5 else ", ".join(map(_plain, value))
    return "none" if value is None else str(value)


def table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], numeric: Iterable[int] = (), stack: bool = True
) -> str:
    """Cells are HTML already. On a phone each row of a `stack` becomes a block."""
    numbers = set(numeric)
    kind = [' class="n"' if column in numbers else "" for column in range(len(heads))]
    names = "".join(
        f'<th scope="col"{css}>{escape(name)}</th>' for name, css in zip(heads, kind, strict=True)
    )
    body = ""
    for row in rows:
        cells = "".join(f"<td{css}>{text}</td>" for css, text in zip(kind, row, strict=True))
        body += f"<tr>{cells}</tr>"
    style = "rows stack" if stack else "rows"
    return f'<table class="{style}"><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>'


def scrolled(body: str, name: str) -> str:
    """Wider than a phone: it scrolls by itself, by keyboard too."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(name)}">{body}</div>'


def check(name: str) -> str:
    """`baseline_drift_check` as `baseline drift`."""
    return name.removesuffix("_check").replace("_", " ")
