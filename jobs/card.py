"""evaluation/card.html: the evidence of a model card, drawn where the figures are made.

What comes later (the verdict, who approved, what became of the version) is written between the two marks by
`evergreen.card`, in a function that has no drawing of its own; the page is whole without it.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from jobs.card_curves import curves
from jobs.card_panels import attribution, bias, confusion, metrics, notes, serving, slices
from jobs.monitor.wording import day, grouped, plural

STYLES = (Path(__file__).parent / "monitor" / "report.css", Path(__file__).with_suffix(".css"))
VERDICT, RECORD = "<!-- verdict -->", "<!-- record -->"


def render(model: str, evaluation: dict[str, Any], explanation: dict[str, Any]) -> str:
    """`evaluation` and `explanation` are the contents of evaluation.json and explanation.json."""
    css = "".join(path.read_text(encoding="utf-8") for path in STYLES)
    body = "".join(
        _section(title, lead, content)
        for title, lead, content in _sections(evaluation, explanation)
        if content
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(model)}: model card</title>\n<style>\n{css}</style></head>\n"
        f"<body><main>\n{VERDICT}\n{body}\n{RECORD}\n</main></body></html>\n"
    )


def _section(title: str, lead: str, content: str) -> str:
    said = f'<p class="soft">{escape(lead)}</p>' if lead else ""
    return f"<section><h2>{escape(title)}</h2>{said}{content}</section>\n"


def _sections(evaluation: dict[str, Any], explanation: dict[str, Any]) -> Iterable[tuple[str, str, str]]:
    rows, blocks = evaluation["rows"], evaluation.get("blocks")
    span = f"{day(evaluation['from'])} to {day(evaluation['until'])} (UTC)"
    lead = f"{grouped(rows)} held-out {plural(rows, 'row')}, {span}, newer than anything it was trained on"
    lead += f"; 95 % intervals, over {blocks} blocks of time." if blocks else "."
    yield "How good it is", lead, metrics(evaluation)
    yield "Where it is better, and where not", "", slices(evaluation)
    yield "How it answers", "", curves(evaluation) + confusion(evaluation)
    yield "Between groups", _bias_lead(evaluation), bias(evaluation)
    yield "What it looks at", "", attribution(explanation)
    yield "Speed and size", "Measured over HTTP on the serving container itself.", serving(evaluation)
    yield "To be known", "", notes(evaluation)


def _bias_lead(evaluation: dict[str, Any]) -> str:
    if not evaluation["challenger"].get("bias"):
        return ""
    outcome = evaluation.get("outcome")
    counted = f" The outcome that counts is {outcome}." if outcome else ""
    return (
        "Each group beside all others. The line is where both are treated alike; a positive difference is to "
        f"the disadvantage of the group.{counted}"
    )
