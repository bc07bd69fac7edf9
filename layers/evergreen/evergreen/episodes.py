"""How long something has been wrong, and what was tried against it: pure functions of the ledger's records of
windows and trainings.

An episode is one ailment's time without a cure. It goes on over versions: a training that is rejected, or
whose model shows the same again, has not ended it. As many windows in a row without the ailment as it takes
to believe in it (`retrain.repeat`) end it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from . import findings, times

Window = dict[str, Any]
NEVER = datetime.min.replace(tzinfo=UTC)
# A training that was asked for and has not begun by then was lost on its way (machine's clock).
LOST_AFTER = timedelta(hours=1)


@dataclass(frozen=True)
class Training:
    """A training of a model as the ledger knows it. `at` is the time of its cause; `status` Asked, Admitted,
    Ended, or Dropped (asked for and not begun: refused or lost); `treats` the ailments it was to cure;
    `package` the status of the version that it registered; `cost` USD."""

    run: str
    kind: str
    at: datetime
    status: str = "Ended"
    treats: frozenset[str] = frozenset()
    cost: float = 0.0
    outcome: str = ""
    version: int | None = None
    package: str = ""

    @property
    def counts(self) -> bool:
        """Whether it took place, or is about to."""
        return self.status != "Dropped"

    @property
    def waits(self) -> bool:
        """Whether its model may still come into service."""
        return self.outcome == "registered" and self.package in ("PendingManualApproval", "Deploying")


@dataclass(frozen=True)
class Episode:
    """`windows` in a row that show it on the version in service, this one among them, `strong` of them;
    `since` the start of the first. `passed` is the end of a later window without it. `attempts`: trainings
    against it, oldest first, `began` the time after which they count."""

    windows: int
    strong: int
    since: datetime
    began: datetime
    passed: datetime | None
    attempts: Sequence[Training]

    @property
    def failed(self) -> list[Training]:
        """Trainings that ended and whose model can no longer help."""
        return [training for training in self.attempts if training.status == "Ended" and not training.waits]

    @property
    def waiting(self) -> Training | None:
        """The newest training whose model was not in service yet."""
        return next((training for training in reversed(self.attempts) if training.waits), None)


def trace(
    shown: frozenset[str],
    monitor: str,
    own: tuple[datetime, datetime],
    strong: bool,
    version: int,
    windows: Iterable[Window],
    trainings: Iterable[Training],
    repeat: int,
    min_labels: int,
) -> Episode:
    """The episode of the ailments `shown` by the window `own` (start, end) of `version`, in whatever order
    windows and trainings were written down."""
    start, end = own
    ordered = sorted(windows, key=lambda window: window["end"])
    others = [window for window in ordered if (window["start"], window["end"]) != _edges(own)]
    before = [window for window in others if window["end"] <= times.iso(end)]
    count, stronger, since = 1, int(strong), start
    for window in reversed(before):
        verdict = _verdict(window, shown, monitor, min_labels)
        if window.get("version") != version or verdict is False:
            break
        if verdict:
            count += 1
            stronger += is_strong(window["violations"], monitor)
            since = times.parse(window["start"])
    trainings = list(trainings)
    began = max(_began(before, shown, monitor, repeat, min_labels), _taken_in_hand(trainings, end))
    attempts = sorted(
        (
            training
            for training in trainings
            if training.counts and training.treats & shown and began < training.at <= end
        ),
        key=lambda training: training.at,
    )
    passed = _passed(others, own, shown, monitor, version, min_labels)
    return Episode(count, stronger, since, began, passed, attempts)


def is_strong(violations: Sequence[dict[str, Any]], monitor: str) -> bool:
    """Whether the largest effect is far beyond its limit."""
    return (findings.effect(violations, monitor) or 0.0) >= findings.STRONG


def _edges(own: tuple[datetime, datetime]) -> tuple[str, str]:
    return times.iso(own[0]), times.iso(own[1])


def _verdict(window: Window, shown: frozenset[str], monitor: str, min_labels: int) -> bool | None:
    """Whether a window shows the ailment; None where it says nothing: too few rows, or too few labels to say
    that quality is well."""
    if window["status"] != "Completed":
        return None
    if findings.ailments(window["violations"], monitor) & shown:
        return True
    if monitor == findings.QUALITY and window.get("labelled", 0) < min_labels:
        return None
    return False


def _began(
    before: list[Window], shown: frozenset[str], monitor: str, repeat: int, min_labels: int
) -> datetime:
    """The end of the last window of `repeat` in a row without the ailment."""
    clean, end = 0, NEVER
    for window in reversed(before):
        verdict = _verdict(window, shown, monitor, min_labels)
        if verdict:
            clean = 0
        elif verdict is False:
            end = times.parse(window["end"]) if not clean else end
            clean += 1
            if clean == repeat:
                return end
    return NEVER


def _taken_in_hand(trainings: list[Training], end: datetime) -> datetime:
    """When a person last trained the model or changed its code: what failed before says nothing of that."""
    by_person = (training for training in trainings if training.kind in ("person", "code"))
    return max(
        (training.at for training in by_person if training.counts and training.at <= end), default=NEVER
    )


def _passed(
    others: list[Window],
    own: tuple[datetime, datetime],
    shown: frozenset[str],
    monitor: str,
    version: int,
    min_labels: int,
) -> datetime | None:
    """The end of a later window of this version in which the ailment is gone."""
    for window in others:
        later = window["start"] >= times.iso(own[1]) and window.get("version") == version
        if later and _verdict(window, shown, monitor, min_labels) is False:
            return times.parse(window["end"])
    return None
