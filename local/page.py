"""The parts that a page of the report is made of: HTML as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

ACTS = {"rollback": "roll back"}


def section(title: str, lead: str, body: str) -> str:
    said = f'<p class="soft">{escape(lead)}</p>' if lead else ""
    return f"<section><h2>{escape(title)}</h2>{said}{body}</section>"


def table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], numeric: Sequence[int] = (), stack: bool = True
) -> str:
    """Cells are HTML already. On a phone each row becomes a block, its cells named by their heads."""
    kind = [' class="n"' if column in numeric else "" for column in range(len(heads))]
    names = "".join(f"<th{css}>{escape(name)}</th>" for name, css in zip(heads, kind, strict=True))
    body = ""
    for row in rows:
        cells = zip(heads, row, kind, strict=True)
        body += (
            "<tr>"
            + "".join(f'<td{css} data-name="{escape(h)}">{cell}</td>' for h, cell, css in cells)
            + "</tr>"
        )
    css = "rows stack" if stack else "rows"
    return f'<table class="{css}"><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>'


def key(*entries: tuple[str, str]) -> str:
    spans = "".join(f'<span><i class="{css}"></i>{escape(name)}</span>' for css, name in entries)
    return f'<div class="key">{spans}</div>'


def tag(decision: str) -> str:
    return f'<span class="tag {escape(decision)}">{escape(ACTS.get(decision, decision))}</span>'
