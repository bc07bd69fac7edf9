"""The model card's panels, from evaluation.json and explanation.json alone. Each is HTML, or empty where
there is nothing of the kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from jobs.monitor import charts
from jobs.monitor.bias_metrics import NAMES, neutral
from jobs.monitor.charts import Axis
from jobs.monitor.tables import table
from jobs.monitor.wording import grouped, interval, number, percent, words

ROW = 18  # pixels of a line of a dot plot
MOST_GROUPS = 12
JUDGED = ("DPPL", "DI", "RD", "AD")

Figure = dict[str, Any]


@dataclass(frozen=True)
class Dot:
    """A line of a dot plot: the figure with its interval, and what it is compared with."""

    name: str
    second: str
    figure: Figure
    shown: str
    ring: float | None = None
    css: str = "now"


def metrics(evaluation: dict[str, Any]) -> str:
    """Every metric with its interval beside the champion's and the best constant's."""
    ours = evaluation["challenger"]["metrics"]
    theirs = (evaluation.get("champion") or {}).get("metrics") or {}
    constant = (evaluation.get("constant") or {}).get("metrics") or {}
    heads = ["metric", "this model"]
    heads += ["the champion", "difference"] if theirs else []
    heads += ["best constant"] if constant else []
    rows = []
    for name, figure in ours.items():
        mark = "<b>{}</b>" if name == evaluation["primary"] else "{}"
        cells = [mark.format(escape(words(name))), mark.format(interval(figure))]
        if theirs:
            difference = (evaluation.get("difference") or {}).get(name) or {}
            cells += [interval(theirs.get(name) or {}), _signed(difference)]
        if constant:
            cells.append(number((constant.get(name) or {}).get("value")))
        rows.append(cells)
    body = table(heads, rows, range(1, len(heads)), stack=False)
    return f"{_contest(evaluation)}<div class='scroll'>{body}</div>"


def _contest(evaluation: dict[str, Any]) -> str:
    """The primary metric of all that scored these rows, on one scale."""
    name = evaluation["primary"]
    sides = {
        "this model": evaluation["challenger"],
        "the champion": evaluation.get("champion"),
        "best constant": evaluation.get("constant"),
    }
    dots = [
        Dot(side, "", figure, number(figure["value"]), css="now" if side == "this model" else "other")
        for side, content in sides.items()
        if (figure := ((content or {}).get("metrics") or {}).get(name) or {}).get("value") is not None
    ]
    if not dots:
        return ""
    plot = _dots(dots, _scale(dots))
    said = "The bar is the 95 % interval."
    return f"<figure><h3>{escape(words(name))}</h3>{plot}<figcaption>{said}</figcaption></figure>"


def slices(evaluation: dict[str, Any]) -> str:
    """How much better than the champion on each part of the rows; without a champion, how good."""
    gains = (evaluation.get("gains") or {}).get("slices") or {}
    name = evaluation["primary"]
    body = ""
    for column, parts in evaluation["challenger"]["slices"].items():
        dots = []
        for value, part in parts.items():
            gain = (gains.get(column) or {}).get(value)
            figure = gain or part["metrics"].get(name) or {}
            if figure.get("value") is None:
                continue
            shown = f"{figure['value']:+.3f}" if gain else number(figure["value"])
            dots.append(Dot(value, grouped(part["rows"]), figure, shown))
        if not dots:
            continue
        has_gains = column in gains
        middle = 0.0 if has_gains else (evaluation["challenger"]["metrics"].get(name) or {}).get("value")
        said = (
            f"Gain in {words(name)} over the champion on the same rows; right of the line is better."
            if has_gains
            else f"{words(name)}; the line is that of all rows."
        )
        plot = _dots(dots, _scale(dots, middle), middle, ("", "rows", "", "gain" if has_gains else "value"))
        body += f"<figure><h3>{escape(column)}</h3>{plot}<figcaption>{escape(said)}</figcaption></figure>"
    return body


def confusion(evaluation: dict[str, Any]) -> str:
    """Counts of true and predicted classes, and the classes' own figures."""
    found = evaluation["challenger"].get("confusion")
    body = ""
    if found:
        heads = ["true class", *(f"predicted {label}" for label in found["labels"]), "rows"]
        rows = []
        for label, counts in zip(found["labels"], found["rows"], strict=True):
            total = sum(counts)
            cells = [
                f"{grouped(count)} <span class='soft'>{percent(count / total) if total else ''}</span>"
                for count in counts
            ]
            rows.append([escape(label), *cells, grouped(total)])
        body += f"<div class='scroll'>{table(heads, rows, range(1, len(heads)), stack=False)}</div>"
    classes = evaluation["challenger"].get("classes")
    if classes:
        names = ("precision", "recall", "f1", "roc_auc")
        rows = [
            [escape(name), grouped(part["rows"]), *(number(part.get(metric)) for metric in names)]
            for name, part in classes.items()
        ]
        heads = ["class", "rows", *map(words, names)]
        body += f"<div class='scroll'>{table(heads, rows, range(1, 6), stack=False)}</div>"
    return body


def bias(evaluation: dict[str, Any]) -> str:
    """The metrics that are judged, a card each; all of them in a table to unfold."""
    groups = evaluation["challenger"].get("bias") or {}
    facets: dict[str, list[str]] = {}
    for group in sorted(groups, key=lambda group: -groups[group]["rows"]):
        facets.setdefault(group.partition("=")[0], []).append(group)
    cards = "".join(
        _bias_card(name, facet, {group: groups[group] for group in members[:MOST_GROUPS]})
        for facet, members in facets.items()
        for name in JUDGED
    )
    if not cards:
        return ""
    rows = [
        (escape(group), name, interval(figure), grouped(part["rows"]))
        for group, part in groups.items()
        for name, figure in part["metrics"].items()
    ]
    body = table(("group", "metric", "value", "rows"), rows, (2, 3), stack=False)
    more = f"<details><summary>{len(rows)} figures</summary><div class='scroll'>{body}</div></details>"
    return f"<div class='cards two'>{cards}</div>{more}"


def _bias_card(name: str, facet: str, groups: dict[str, Figure]) -> str:
    dots = [
        Dot(group.partition("=")[2], grouped(part["rows"]), figure, f"{figure['value']:.3f}")
        for group, part in groups.items()
        if (figure := part["metrics"].get(name) or {}).get("value") is not None
    ]
    if not dots:
        return ""
    heads, middle = (facet, "rows", "", name), neutral(name)
    scale = _halves() if name == "DI" else _scale(dots, middle)
    plot = _dots(dots, scale, middle, heads)
    return f'<figure class="card"><h3>{name}: {escape(NAMES[name])}</h3>{plot}</figure>'


def attribution(explanation: dict[str, Any]) -> str:
    """Each feature's share, heaviest first; or why there is none."""
    shares = explanation["shares"]
    reason = explanation.get("reason") or ""
    if not any(shares.values()):
        return f"<p>No attribution: {escape(reason)}.</p>"
    top = max(shares.values())
    body = "".join(
        f'<div class="kind"><span title="{escape(name)}">{escape(name)}</span><div>'
        f'<i class="now" style="width:{100 * share / top:.1f}%"></i></div><b>{percent(share)}</b></div>'
        for name, share in shares.items()
    )
    asked = f"{grouped(explanation['rows'])} rows of the holdout."
    if explanation["method"] == "permutation_importance":
        metric = words(explanation["explanations"]["permutation_importance"]["metric"])
        said = (
            f"Share of what {metric} loses when a feature is shuffled, on {asked} No SHAP values: {reason}."
        )
    else:
        said = f"Share of the mean |SHAP| value, on {asked} The monitor compares later windows with these."
    return f'<figure><div class="kinds wide">{body}</div><figcaption>{escape(said)}</figcaption></figure>'


def serving(evaluation: dict[str, Any]) -> str:
    """Latency and size, measured on the serving container itself."""
    found = {side: figures for side, figures in (evaluation.get("serving") or {}).items() if figures}
    if not found.get("challenger"):
        return ""
    sides = [side for side in ("challenger", "champion") if side in found]
    lines = (
        ("p50, one row", "p50_ms", _milliseconds),
        ("p99, one row", "p99_ms", _milliseconds),
        (f"p50, {grouped(found['challenger'].get('batch_rows') or 0)} rows", "batch_p50_ms", _milliseconds),
        ("model.tar.gz", "artifact_bytes", _size),
        ("unpacked", "unpacked_bytes", _size),
        ("peak memory", "memory_mb", lambda value: f"{grouped(value)} MB"),
        ("start", "started_s", lambda value: f"{value:.1f} s"),
    )
    rows = [
        [name, *(say(value) if (value := found[side].get(key)) is not None else "n/a" for side in sides)]
        for name, key, say in lines
    ]
    heads = ["", "this model", "the champion"][: len(sides) + 1]
    return f"<div class='scroll'>{table(heads, rows, range(1, len(heads)), stack=False)}</div>"


def notes(evaluation: dict[str, Any]) -> str:
    return "".join(f"<p>{escape(note)}</p>" for note in evaluation.get("notes") or ())


def _dots(
    dots: Sequence[Dot],
    at: Callable[[float], float],
    middle: float | None = None,
    heads: tuple[str, ...] | None = None,
) -> str:
    """`at`: a value's place in percent of the width."""
    body = ""
    if heads:
        body = f'<div class="span head">{"".join(f"<span>{escape(head)}</span>" for head in heads)}</div>'
    for dot in dots:
        figure, drawn = dot.figure, ""
        if middle is not None:
            drawn += charts.line(at(middle), 0, at(middle), ROW, "middle")
        if figure.get("low") is not None and figure.get("high") is not None:
            low, high = at(figure["low"]), at(figure["high"])
            drawn += charts.line(low, ROW / 2, high, ROW / 2, f"range {dot.css}")
        drawn += charts.dot(at(figure["value"]), ROW / 2, dot.css, f"{dot.name} {interval(figure)}")
        body += (
            f'<div class="span"><span title="{escape(dot.name)}">{escape(dot.name)}</span>'
            f'<span class="n soft">{escape(dot.second)}</span><svg height="{ROW}">{drawn}</svg>'
            f'<span class="n">{escape(dot.shown)}</span></div>'
        )
    return f'<div class="spans">{body}</div>'


def _scale(dots: Sequence[Dot], middle: float | None = None) -> Callable[[float], float]:
    """From end to end of all intervals, with room; `middle` is on it."""
    known = [dot.figure.get(key) for dot in dots for key in ("value", "low", "high")] + [middle]
    values = [value for value in known if value is not None]
    room = (max(values) - min(values)) * 0.06 or 0.05
    return Axis(min(values) - room, max(values) + room, 2, 98).at


def _halves() -> Callable[[float], float]:
    """The scale of a ratio from 0 to infinity: 1 is in the middle, a half as far from it as a double."""
    whole = Axis(0, 1, 2, 98)
    return lambda ratio: whole.at(ratio / (1 + ratio))


def _signed(figure: Figure) -> str:
    if figure.get("value") is None:
        return "n/a"
    shown = f"{figure['value']:+.3f}"
    if figure.get("low") is None or figure.get("high") is None:
        return shown
    return f"{shown} ({figure['low']:+.3f} to {figure['high']:+.3f})"


def _milliseconds(value: float) -> str:
    return f"{value:.1f} ms" if value < 100 else f"{value:,.0f} ms"


def _size(value: float) -> str:
    return f"{value / 1e6:.1f} MB" if value >= 1e5 else f"{value / 1e3:.1f} kB"
