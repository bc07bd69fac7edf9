"""report.html: one page about one window, with nothing to fetch. It only reads the files of the window and of
the baseline, so a page can be made again at any time: `python -m jobs.monitor report`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from jobs.monitor import distributions, panels, tables
from jobs.monitor.profile import Column
from jobs.monitor.wording import (
    badge,
    day,
    grouped,
    listed,
    number,
    percent,
    plural,
    sentences,
    unique,
    words,
)

LISTED = 12  # violations in sight; the others unfold
CHANGED = 6  # features that are spoken of first
DRAWN = 12  # distributions in sight; the others unfold


@dataclass(frozen=True)
class Page:
    """`analysis` is analysis.json; `then` and `now` the columns of the baseline's and the window's profiles,
    the prediction among them; `history` one entry per window so far, this one last."""

    analysis: dict[str, Any]
    then: dict[str, Column]
    now: dict[str, Column]
    history: list[dict[str, Any]]

    @property
    def features(self) -> dict[str, dict[str, Any]]:
        """Figures by column, the prediction first."""
        watched = self.analysis.get("prediction")
        return ({"prediction": watched} if watched else {}) | self.analysis["features"]

    def ranked(self) -> list[str]:
        """By how much a change matters: violations first, then `matter`."""
        broken = {found["feature_name"] for found in self.analysis["violations"]}
        figures = self.features

        def rank(name: str) -> tuple[bool, float]:
            figure = figures[name]
            return name not in broken, -matter(figure)

        return sorted(figures, key=rank)


def matter(figure: dict[str, Any]) -> float:
    """Share of the rows that moved, be it by their values or by having none, times the model's attention."""
    effects = [figure.get("distance"), *(part["effect"] for part in (figure.get("parts") or {}).values())]
    weight = figure.get("weight")
    return max(effect or 0.0 for effect in effects) * (1.0 if weight is None else weight)


def render(page: Page) -> str:
    css = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
    analysis = page.analysis
    parts = [_head(page)]
    if analysis["status"] == "Completed":
        for title, lead, body in _sections(page):
            if body:
                said = f'<p class="soft">{lead}</p>' if lead else ""
                parts.append(f"<section><h2>{escape(title)}</h2>{said}{body}</section>")
    name = escape(analysis.get("model") or "model")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{name}: {escape(badge(analysis)[0])}</title>\n<style>\n{css}</style></head>\n"
        f"<body><main>\n{''.join(parts)}\n"
        "<footer>Made from <code>analysis.json</code> and the profiles beside this file.</footer>"
        "</main></body></html>\n"
    )


def _sections(page: Page) -> Iterable[tuple[str, str, str]]:
    analysis = page.analysis
    yield "What is wrong", "", _violations(analysis)
    weighted = any(figure.get("weight") for figure in page.features.values())
    why = "Violations first, then by the share of rows that moved"
    why += " times the share of the model's attention." if weighted else "."
    yield "What changed most", why, _changed(page)
    yield "How good the model is", _quality_lead(analysis), panels.quality(analysis, page.history)
    yield (
        "Then and now",
        _legend("the baseline (training data; the holdout for predictions)"),
        _distributions(page),
    )
    yield "Between groups", panels.bias_lead(analysis), panels.bias(analysis)
    lead = f"Mean |SHAP| of each feature, as a share of all. {_legend('the baseline')}"
    yield "What the model looks at", lead, panels.attribution(analysis)
    yield "All columns", "", tables.columns(page.features, page.ranked())
    yield "All bias metrics", "", tables.bias(analysis)
    yield "How this was judged", "", tables.settings(analysis)


def _head(page: Page) -> str:
    analysis = page.analysis
    said, style = badge(analysis)
    what, quality = sentences(analysis)
    window = analysis["window"]
    tiles = [
        (grouped(analysis["rows"]), plural(analysis["rows"], "row")),
        (grouped(analysis["labelled"]), "with a label"),
        (grouped(len(analysis["violations"])), plural(len(analysis["violations"]), "violation")),
    ]
    name = analysis.get("watched")
    figure = analysis["quality"].get(name) if name else None
    if figure and figure.get("value") is not None:
        tiles.append((number(figure["value"]), words(name)))
    estimate = analysis.get("estimate") or {}
    if estimate.get("value") is not None:
        tiles.append((number(estimate["value"]), f"{words(estimate['metric'])}, estimated without labels"))
    if analysis.get("skipped_lines"):
        lines = plural(analysis["skipped_lines"], "line")
        tiles.append((grouped(analysis["skipped_lines"]), f"{lines} that could not be read"))
    cells = "".join(
        f'<div class="tile"><b>{value}</b><span>{escape(label)}</span></div>' for value, label in tiles
    )
    model = escape(analysis.get("model") or "")
    return (
        f'<header><span class="verdict {style}">{escape(said)}</span>'
        f"<h1>{escape(what)}</h1>{f'<p>{escape(quality)}</p>' if quality else ''}"
        f'<p class="soft">{model}, {day(window["start"])} to {day(window["end"])} (UTC).</p>'
        f'<div class="tiles">{cells}</div>{_unjudged(analysis)}</header>'
    )


def _unjudged(analysis: dict[str, Any]) -> str:
    """What "in order" does not cover."""
    names = listed(list(analysis.get("unjudged") or {}), most=9)
    return f'<p class="soft">Not judged: {escape(names)}. The reasons are at the end.</p>' if names else ""


def _violations(analysis: dict[str, Any]) -> str:
    found = analysis["violations"]
    rows = [
        (
            f"<b>{escape(str(one['feature_name']))}</b>",
            f'<span class="tag">{escape(tables.check(one["constraint_check_type"]))}</span>',
            escape(one["description"]),
        )
        for one in found[: tables.CELLS]
    ]
    heads = ("where", "what", "why")
    body = tables.table(heads, rows[:LISTED]) if rows else ""
    if len(rows) > LISTED:
        rest = tables.table(heads, rows[LISTED:])
        body += f"<details><summary>{len(rows) - LISTED} more</summary>{rest}</details>"
    return body


def _changed(page: Page) -> str:
    """The features that moved most, in words, with the weight that they have in the model."""
    figures = page.features
    peak = max(map(matter, page.analysis["features"].values()), default=0.0)
    body = ""
    for name in page.ranked()[:CHANGED]:
        figure = figures[name]
        if not matter(figure) or name not in page.now or name not in page.then:
            continue
        is_feature = name in page.analysis["features"]  # a prediction has no weight to rank it by
        bar = f'<i style="width:{100 * matter(figure) / peak:.1f}%"></i>' if is_feature else ""
        tags = _tags(name, figure, page.analysis)
        moved = distributions.moved(page.then[name], page.now[name])
        body += (
            f'<div class="change"><div><b>{escape(name)}</b> {tags}<br>{escape(moved)}</div>'
            f"<div{' class=bar' if bar else ''}>{bar}</div>"
            f"<div class='soft'>{escape(_effect(figure))}</div></div>"
        )
    return f"<div class='changes'>{body}</div>" if body else ""


def _tags(name: str, figure: dict[str, Any], analysis: dict[str, Any]) -> str:
    found = [one["constraint_check_type"] for one in analysis["violations"] if one["feature_name"] == name]
    tags = " ".join(
        f'<span class="tag bad">{escape(tables.check(check))}</span>' for check in unique(found)[:2]
    )
    if figure.get("seasonal"):
        tags += ' <span class="tag">seasonal</span>'
    return tags


def _effect(figure: dict[str, Any]) -> str:
    usual = figure.get("threshold")
    is_any = usual is not None and usual >= 1
    limit = "the baseline's own days differ by as much" if is_any else f"up to {percent(usual)} is allowed"
    parts = [f"{percent(figure.get('distance'))} of the rows moved, {limit}"]
    if figure.get("missing") == 1:
        parts = ["no row has a value"]
    if figure.get("weight") is not None:
        parts.append(f"{percent(figure['weight'])} of the model's attention")
    return "; ".join(parts)


def _quality_lead(analysis: dict[str, Any]) -> str:
    detector = analysis.get("detector") or {}
    parts = []
    if detector.get("value") is not None and detector.get("threshold") is not None:
        evidence = f"{number(detector['value'])}; from {number(detector['threshold'])} on it is a violation"
        parts.append(f"Evidence against the model so far: {evidence}.")
    if detector.get("fired_at"):
        parts.append(f"It has been since {day(detector['fired_at'])}.")
    trend = analysis.get("trend") or {}
    if trend.get("kind") and trend["kind"] != "none":
        since = f" since {day(trend['since'])}" if trend.get("since") else ""
        parts.append(f"The change looks {escape(trend['kind'])}{since}.")
    return " ".join(parts)


def _legend(then: str) -> str:
    return f'<span class="key"><i class="now"></i>this window <i class="then"></i>{then}</span>'


def _distributions(page: Page) -> str:
    cards = []
    for name in page.ranked()[: tables.CELLS]:
        if name not in page.then or name not in page.now:
            continue
        figure = page.features[name]
        body = distributions.picture(page.then[name], page.now[name])
        cards.append(
            f'<figure class="card"><h3><bdi>{escape(name)}</bdi> {_tags(name, figure, page.analysis)}</h3>'
            f"{body}<figcaption>{escape(_effect(figure))}</figcaption></figure>"
        )
    seen, folded = "".join(cards[:DRAWN]), "".join(cards[DRAWN:])
    rest = f"<details><summary>{len(cards) - DRAWN} more</summary><div class='cards'>{folded}</div></details>"
    return f"<div class='cards'>{seen}</div>{rest if folded else ''}" if seen else ""
