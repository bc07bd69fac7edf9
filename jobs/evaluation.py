"""The content of evaluation.json: what two models' answers to the same rows are worth, in figures that the
gate judges without computing. docs/judging.md has the keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs import answers, constant, contract, fairness, gains, metrics
from jobs.columns import codes, floats, microseconds
from jobs.hosted import Scored
from jobs.metrics import Figures
from jobs.monitor import baseline, datafiles, outcomes, quality
from jobs.monitor.bias import Settings
from jobs.monitor.bodies import ANSWERED
from jobs.monitor.quality import Scores
from jobs.monitor.window import Window
from jobs.spec import BINARY, MULTICLASS, REGRESSION, Spec

MAX_SLICES = 20
MIN_SLICE_ROWS = 50
CONFIDENCE = 0.9  # gate.confidence's default
MAX_SHOWN = 200  # characters of an answer, in the reason
# What the answer to a row must be to be compared with its label.
WANTED = {
    BINARY: "`probability` must be between 0 and 1, and where there is none `prediction` 0 or 1",
    MULTICLASS: "`prediction` must be a class, and `probabilities` between 0 and 1 and add up to 1",
    REGRESSION: "`prediction` must be a number",
}


@dataclass(frozen=True)
class Part:
    """Rows of the holdout, all of them or a slice, and the block of each, numbered from 0."""

    rows: np.ndarray
    block: np.ndarray
    column: str = ""
    value: str = ""

    @property
    def blocks(self) -> int:
        return int(self.block.max()) + 1


@dataclass(frozen=True)
class Measured:
    """Of some rows: the metrics, and their bootstrap replicates as `quality.replicate` gives them."""

    figures: Figures
    drawn: np.ndarray


@dataclass(frozen=True)
class Side:
    """One model's scores, measured on all rows and on each slice."""

    scores: Scores
    whole: Measured
    slices: list[Measured]


def compare(
    spec: Spec, train: pa.Table, holdout: pa.Table, challenger: Scored, champion: Scored | None
) -> dict[str, Any]:
    """Raises JobError where an answer cannot be compared with its label."""
    times = microseconds(holdout[spec.time])
    block = quality.blocks(times)
    parts = [Part(np.arange(len(holdout)), block), *_slices(holdout, spec, block)]
    windows = [answered(spec, holdout, each) for each in (challenger, champion) if each]
    sides = [
        _side(_scores(spec, window, scored, name), parts, len(spec.features))
        for window, scored, name in zip(
            windows, filter(None, (challenger, champion)), ("challenger", "champion"), strict=False
        )
    ]
    ours, theirs = sides[0], sides[1] if champion else None
    biases = [fairness.groups(spec, window) for window in windows]
    shown = [_shown(side, parts[1:], bias) for side, (bias, _) in zip(sides, biases, strict=True)]
    lowest = _constant(spec, train, ours, parts[0])
    name = spec.gate.get("primary") or quality.names(spec.task)[0]
    trained = [contract.span(microseconds(train[spec.time])[[0, -1]])["until"]]
    champions = contract.time_setting("CHAMPION_TRAINED_UNTIL") if champion else None
    return {
        "task": spec.task,
        "primary": name,
        "confidence": _confidence(spec),
        "rows": len(holdout),
        "blocks": parts[0].blocks,
        **contract.span(times),
        "trained_until": {
            "challenger": trained[0],
            "champion": champions and contract.format_time(champions),
        },
        "challenger": shown[0],
        "champion": shown[1] if champion else None,
        "constant": {
            "prediction": lowest[name][0].words,
            "metrics": {key: measured.figures[key] for key, (_, measured) in lowest.items()},
        },
        "difference": _difference(spec.task, ours.whole, theirs.whole, parts[0].blocks) if theirs else None,
        "gains": {
            "constant": _gain(spec, name, ours.whole, lowest[name][1], parts[0].blocks),
            "champion": _gain(spec, name, ours.whole, theirs.whole, parts[0].blocks) if theirs else None,
            "slices": _losses(spec.task, name, ours, theirs, parts[1:]) if theirs else {},
        },
        "answers": answers.expected(challenger.answers, champion and champion.answers),
        "outcome": Settings.of(spec).outcome.words(),
        "serving": {"challenger": challenger.serving, "champion": champion and champion.serving},
        "notes": metrics.notes(ours.scores) + biases[0][1],
    }


def answered(spec: Spec, holdout: pa.Table, scored: Scored) -> Window:
    """The holdout with a model's answers."""
    return baseline.held_out(spec, holdout, datafiles.answers_of(spec.task, scored.answers))


def _scores(spec: Spec, window: Window, scored: Scored, name: str) -> Scores:
    """Raises JobError where an answer cannot be compared: both models are judged by all rows."""
    unusable = np.flatnonzero(~outcomes.usable(window.answers, window.label, spec.task))
    if len(unusable):
        counted = f"{len(unusable):,} of {len(scored.answers):,} answers of the {name}"
        answer = scored.answers[unusable[0]]  # which may repeat what it was asked
        first = str({key: answer[key] for key in ANSWERED if key in answer})[:MAX_SHOWN]
        raise contract.JobError(
            f"{counted} cannot be compared with their labels, the first is {first}: {WANTED[spec.task]}"
        )
    return outcomes.scores(window.answers, window.label, spec.task)


def _side(scores: Scores, parts: list[Part], features: int) -> Side:
    measured = [_measure(scores, part, features) for part in parts]
    return Side(scores, measured[0], measured[1:])


def _measure(scores: Scores, part: Part, features: int) -> Measured:
    taken = scores.take(part.rows) if part.column else scores
    drawn = quality.replicate(taken, part.block)
    return Measured(metrics.figures(taken, part.block, drawn, features), drawn)


def _shown(side: Side, parts: list[Part], bias: dict[str, Any]) -> dict[str, Any]:
    """A model's own figures."""
    slices: dict[str, dict[str, Any]] = {}
    for part, measured in zip(parts, side.slices, strict=True):
        found = {"rows": len(part.rows), "metrics": measured.figures}
        slices.setdefault(part.column, {})[part.value] = found
    return {
        "metrics": side.whole.figures,
        "slices": slices,
        "bias": bias,
        "confusion": metrics.confusion(side.scores),
        "classes": metrics.classes(side.scores),
        "curves": metrics.curves(side.scores),
    }


def _constant(
    spec: Spec, train: pa.Table, ours: Side, whole: Part
) -> dict[str, tuple[constant.Constant, Measured]]:
    """metric -> the best constant prediction and what it scores on the holdout."""
    chosen = constant.best(spec.task, _labels(spec, train, ours.scores.classes), ours.scores.classes)
    once = {each: _measure(each.answer(ours.scores), whole, 0) for each in dict.fromkeys(chosen.values())}
    return {name: (each, once[each]) for name, each in chosen.items()}


def _labels(spec: Spec, train: pa.Table, classes: tuple[str, ...]) -> np.ndarray:
    if spec.task != MULTICLASS:
        return floats(train[spec.target])
    column = train[spec.target].cast(pa.string())
    return pc.index_in(column, value_set=pa.array(classes, pa.string())).fill_null(-1).to_numpy()


def _difference(task: str, ours: Measured, theirs: Measured, blocks: int) -> Figures:
    """Challenger less champion, in each metric's own sign."""
    value = {
        name: None
        if None in (found := (ours.figures[name]["value"], theirs.figures[name]["value"]))
        else found[0] - found[1]
        for name in quality.names(task)
    }
    return quality.summary(task, value, ours.drawn - theirs.drawn, blocks)


def _gain(spec: Spec, name: str, ours: Measured, theirs: Measured, blocks: int) -> gains.Figure:
    at = gains.column(spec.task, name)
    drawn = ours.drawn[:, at] - theirs.drawn[:, at]
    return gains.gain(name, ours.figures[name], theirs.figures[name], drawn, blocks, _confidence(spec))


def _losses(task: str, name: str, ours: Side, theirs: Side, parts: list[Part]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    at = gains.column(task, name)
    for part, now, then in zip(parts, ours.slices, theirs.slices, strict=True):
        drawn = now.drawn[:, at] - then.drawn[:, at]
        loss = gains.loss_chance(name, now.figures[name], then.figures[name], drawn, part.blocks)
        found.setdefault(part.column, {})[part.value] = {"rows": len(part.rows), **loss}
    return found


def _slices(holdout: pa.Table, spec: Spec, block: np.ndarray) -> Iterator[Part]:
    """The largest groups of each column in `gate.slices`."""
    for column in spec.slices:
        code, names = codes(holdout[column])
        counts = np.bincount(code[code >= 0], minlength=len(names))
        for index in np.argsort(-counts, kind="stable")[:MAX_SLICES]:
            if counts[index] >= MIN_SLICE_ROWS:
                rows = np.flatnonzero(code == index)
                yield Part(rows, np.unique(block[rows], return_inverse=True)[1], column, names[index])


def _confidence(spec: Spec) -> float:
    return float(spec.gate.get("confidence", CONFIDENCE))
