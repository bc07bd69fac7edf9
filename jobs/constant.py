"""The best prediction that looks at no feature: what a first model has to beat.

It is learned from the training rows, as the model was: the share of each class, the mean of a number (the
median for its absolute error), and for metrics of predicted classes the one class that does best.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jobs.monitor import quality
from jobs.monitor.quality import Scores
from jobs.spec import BINARY, REGRESSION

MAX_CANDIDATES = 20  # classes, the most frequent first
BY_SHARE = ("roc_auc", "pr_auc", "log_loss", "brier")


@dataclass(frozen=True)
class Constant:
    """`prediction`: the number, or the code of a class; `shares`: of the classes, empty in a regression;
    `words`: what it is, for people."""

    words: str
    prediction: float
    shares: tuple[float, ...] = ()

    def answer(self, asked: Scores) -> Scores:
        """The same for each row of `asked`, of which only the labels count."""
        rows = len(asked)
        if asked.task == REGRESSION:
            return Scores(REGRESSION, asked.label, np.full(rows, self.prediction))
        shares = np.full(rows, self.shares[1]) if asked.task == BINARY else np.tile(self.shares, (rows, 1))
        return Scores(asked.task, asked.label, np.full(rows, int(self.prediction)), shares, asked.classes)


def best(task: str, label: np.ndarray, classes: tuple[str, ...] = ()) -> dict[str, Constant]:
    """metric -> the constant to beat. `label`: of the training rows, numbers or codes into `classes`."""
    if task == REGRESSION:
        mean = Constant(f"the training rows' mean, {label.mean():g}", float(label.mean()))
        median = Constant(f"the training rows' median, {np.median(label):g}", float(np.median(label)))
        return {"rmse": mean, "mae": median, "r2": mean}
    known = label[label >= 0].astype(int)
    named = ("0", "1") if task == BINARY else classes
    shares = np.bincount(known, minlength=len(named)) / max(len(known), 1)
    frequent = np.argsort(-shares, kind="stable")[:MAX_CANDIDATES]
    always = [Constant(f"always {named[code]}", int(code), tuple(shares)) for code in frequent]
    asked = Scores(task, label.astype(int), label, classes=classes)
    found = [quality.values(constant.answer(asked)) for constant in always]
    share = Constant(_in_words(named, shares, frequent), always[0].prediction, tuple(shares))
    return {
        name: share if name in BY_SHARE else always[_first_best([each[name] for each in found])]
        for name in quality.names(task)
    }


def _first_best(values: list[float | None]) -> int:
    return max(range(len(values)), key=lambda place: -1.0 if values[place] is None else values[place])


def _in_words(named: tuple[str, ...], shares: np.ndarray, frequent: np.ndarray) -> str:
    shown = ", ".join(f"{named[code]} {shares[code]:.1%}" for code in frequent[:3])
    return f"the training rows' shares ({shown}{', ...' if len(named) > 3 else ''})"
