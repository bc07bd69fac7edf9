"""The decisions of the loop as pure functions of records: may this train, and what does a signal call for.
Each answers with a reason that a person can check. No clock is read here: a signal is judged at its own time,
however late it is delivered. docs/retraining.md has an example of each reason."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from . import budget, episodes, findings, times
from .episodes import Episode, Training
from .findings import QUALITY, SCHEMA
from .units import counted, spoken

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Signal:
    """Something that may call for an answer. `violations` are Model Monitor's, each with at least
    `constraint_check_type`; `version` is that of the model it was seen on, in the window from `start` to
    `at`."""

    kind: str  # violation or alarm
    at: datetime
    version: int | None = None
    violations: Sequence[dict[str, Any]] = ()
    labelled: int = 0
    deployment: str = ""
    name: str = ""
    start: datetime | None = None


@dataclass(frozen=True)
class Situation:
    """What the ledger knows when a signal is judged: `windows` are its records of analysed windows, `running`
    and `deploying` what holds a lock, `told` what a person was told already and when (signals' times)."""

    champion: dict[str, Any] | None
    trainings: Sequence[Training] = ()
    windows: Sequence[dict[str, Any]] = ()
    running: str = ""
    deploying: str = ""
    told: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """`action` is retrain, rollback, notify or leave. A training `treats` ailments; a person is told of
    `tells` once."""

    action: str
    reason: str
    treats: frozenset[str] = frozenset()
    tells: frozenset[str] = frozenset()


def may_train(
    kind: str, spec: dict[str, Any], at: datetime, trainings: Sequence[Training], run: str = ""
) -> str:
    """Why a cause of this kind may not train at `at` as `run`; empty where it may. A person always may, and
    knows the price. Everything else keeps the month's budget; signals and new data must be wanted, and keep
    the cool-down and the day's number too."""
    retrain = spec["retrain"]
    if kind == "person":
        return ""
    others = [training for training in trainings if training.run != run]
    if kind in ("violation", "data"):
        if kind not in retrain["on"]:
            return f"model.yaml does not retrain on {kind} (retrain.on: [{', '.join(retrain['on'])}])"
        soon = _too_soon(retrain, at, others)
        if soon:
            return soon
    return _too_dear(spec, at, others)


def assess(signal: Signal, spec: dict[str, Any], now: Situation) -> Answer:
    """What a signal calls for."""
    if not now.champion:
        return Answer("leave", "no model is in service yet")
    if signal.kind == "alarm":
        return _assess_alarm(signal, spec["ship"], now)
    return _assess_violation(signal, spec, now, now.champion)


def _assess_alarm(signal: Signal, ship: dict[str, Any], now: Situation) -> Answer:
    champion = now.champion or {}
    if signal.deployment != champion["deployment"]:
        if signal.deployment == now.deploying:
            return Answer("leave", f"{signal.name}: the deployment under way rolls back by itself")
        return Answer("leave", f"{signal.name} watches {signal.deployment}, which is not in service")
    since = signal.at - times.parse(champion["promoted_at"])
    seen = f"{signal.name} went off {_ago(since)} after version {champion['version']} came into service"
    if since > times.seconds(ship["probation"]):
        return Answer("notify", f"{seen}, past its probation of {spoken(ship['probation'])}")
    if not champion.get("previous"):
        return Answer("notify", f"{seen}, and there is no version before it to return to")
    if now.deploying:
        return Answer("notify", f"{seen}, but {now.deploying} is being deployed")
    return Answer("rollback", f"{seen}, within its probation of {spoken(ship['probation'])}")


def _assess_violation(
    signal: Signal, spec: dict[str, Any], now: Situation, champion: dict[str, Any]
) -> Answer:
    """From what makes the signal void, over what training cannot cure, to what training may cost."""
    seen, monitor = findings.describe(signal.violations), findings.leading(signal.violations)
    version = champion["version"]
    if signal.version is not None and signal.version != version:
        return Answer("leave", f"{seen} on version {signal.version}; version {version} has replaced it")
    under_way = _under_way(now)
    if under_way:
        return Answer("leave", f"{seen}; {under_way}")
    shown = findings.ailments(signal.violations, monitor)
    episode = _episode(signal, spec, now, shown, monitor, version)
    if episode.passed:
        return Answer("leave", f"{seen}; the window that ended {times.iso(episode.passed)} is free of it")
    if "violation" not in spec["retrain"]["on"]:
        return Answer("notify", f"{seen}; model.yaml does not retrain on violations")
    broken = findings.broken(signal.violations)
    if monitor == SCHEMA or broken:
        what = findings.describe(broken) if broken else "what arrives is not what model.yaml declares"
        return Answer("notify", f"{seen}; {what}: a training would learn the fault instead of curing it")
    if monitor == findings.NOTICE:
        return Answer("notify", f"{seen}; the rule's severity is notify: this is for a person")
    back = _worse_than_before(signal, spec, now, champion, monitor)
    if back:
        return Answer("rollback", f"{seen}; {back}")
    harmless = _harmless(signal, spec, monitor)
    if harmless:
        return Answer("leave", f"{seen}; {harmless}")
    weak = _too_weak(signal, spec, monitor, episode)
    if weak:
        return Answer("notify", f"{seen}; {weak}")
    return _treat(signal, spec, now, shown, episode, seen)


def _treat(
    signal: Signal, spec: dict[str, Any], now: Situation, shown: frozenset[str], episode: Episode, seen: str
) -> Answer:
    """The signal is to be believed: is a training likely to help, and may it be paid for?"""
    retrain = spec["retrain"]
    tried = episode.waiting
    if tried:
        waits = f"version {tried.version}, trained for it, waits for approval or deployment"
        overdue = signal.at - tried.at > times.seconds(retrain["cool_down"])
        return Answer("notify" if overdue else "leave", f"{seen}; {waits}")
    failed = episode.failed
    if len(failed) >= retrain["give_up_after"]:
        how = ", ".join(_how(training) for training in failed[-retrain["give_up_after"] :])
        given_up = f"{counted(len(failed), 'training')} did not cure it ({how}): this is for a person"
        return _tell(signal, now, shown, episode.began, f"{seen}; {given_up}")
    soon = _too_soon(retrain, signal.at, now.trainings)
    if soon:
        return Answer("leave", f"{seen}; {soon}")
    dear = _too_dear(spec, signal.at, now.trainings)
    if dear:
        month = budget.month(signal.at)
        return _tell(signal, now, frozenset({f"budget:{month}"}), episodes.NEVER, f"{seen}; {dear}")
    return Answer("retrain", f"{seen}; {_case(signal, spec, now, episode)}", treats=shown)


def _tell(signal: Signal, now: Situation, what: frozenset[str], since: datetime, reason: str) -> Answer:
    """A person is told once; after that the same is left with that person."""
    told = [now.told[name] for name in what if name in now.told and times.parse(now.told[name]) > since]
    if told:
        return Answer("leave", f"{reason}, told on {max(told)}")
    return Answer("notify", reason, tells=what)


def _episode(
    signal: Signal, spec: dict[str, Any], now: Situation, shown: frozenset[str], monitor: str, version: int
) -> Episode:
    own = (signal.start or signal.at, signal.at)
    strong = episodes.is_strong(signal.violations, monitor)
    repeat, labels = spec["retrain"]["repeat"], _min_labels(spec)
    return episodes.trace(shown, monitor, own, strong, version, now.windows, now.trainings, repeat, labels)


def _under_way(now: Situation) -> str:
    """What may cure the model already."""
    if now.running:
        return f"run {now.running} is training already"
    asked = next((training for training in now.trainings if training.status == "Asked"), None)
    if asked:
        return f"run {asked.run} was asked for on {times.iso(asked.at)} and is about to train"
    if now.deploying:
        return f"{now.deploying} is being deployed"
    return ""


def _worse_than_before(
    signal: Signal, spec: dict[str, Any], now: Situation, champion: dict[str, Any], monitor: str
) -> str:
    """Why the version before should come back: on probation this one does badly what that one did well."""
    probation = spec["ship"]["probation"]
    if signal.at - times.parse(champion["promoted_at"]) > times.seconds(probation):
        return ""
    previous, labels = champion.get("previous"), _min_labels(spec)
    if monitor != QUALITY or not previous or signal.labelled < labels or now.deploying:
        return ""
    last = max(
        (
            window
            for window in now.windows
            if window.get("version") == previous["version"]
            and window["status"] == "Completed"
            and window.get("labelled", 0) >= labels
        ),
        key=lambda window: window["end"],
        default=None,
    )
    if last is None or findings.ailments(last["violations"], QUALITY):
        return ""
    was_well = f"version {previous['version']} was well in its last window, until {last['end']}"
    return f"{was_well}, and this one is within its probation of {spoken(probation)}"


def _harmless(signal: Signal, spec: dict[str, Any], monitor: str) -> str:
    """Labels enough of this very window say that the model works as before."""
    quality = spec["monitor"]["quality"]
    if (
        monitor in (QUALITY, findings.RULE, findings.BIAS)
        or not quality
        or signal.labelled < quality["min_labels"]
    ):
        return ""
    return f"{quality['metric']} holds on the {signal.labelled} labels of this window"


def _too_weak(signal: Signal, spec: dict[str, Any], monitor: str, episode: Episode) -> str:
    """A loss of quality, seen on enough labels, speaks for itself; anything else must repeat. A strong effect
    counts for half a window more."""
    wanted, repeat = _min_labels(spec), spec["retrain"]["repeat"]
    if monitor == QUALITY and signal.labelled >= wanted:
        return ""
    if episode.windows + episode.strong / 2 >= repeat and episode.windows >= min(2, repeat):
        return ""
    few = f"{signal.labelled} labels are fewer than {wanted}, and " if monitor == QUALITY else ""
    return f"{few}this is window {episode.windows} in a row of the {repeat} it takes to retrain"


def _min_labels(spec: dict[str, Any]) -> int:
    return (spec["monitor"]["quality"] or {}).get("min_labels", 0)


def _too_soon(retrain: dict[str, Any], at: datetime, trainings: Iterable[Training]) -> str:
    moments = sorted(training.at for training in trainings if training.counts)
    if moments and moments[-1] > at:
        return f"a training of {times.iso(moments[-1])} came after it"
    if moments and at - moments[-1] < times.seconds(retrain["cool_down"]):
        left = f"{_ago(at - moments[-1])} after the last training"
        return f"{left}, within the cool-down of {spoken(retrain['cool_down'])}"
    today = sum(1 for moment in moments if at - moment < DAY)
    if today >= retrain["per_day"]:
        use = "uses" if today == 1 else "use"
        return f"{counted(today, 'training')} in 24 hours {use} up the budget of {retrain['per_day']}"
    return ""


def _too_dear(spec: dict[str, Any], at: datetime, trainings: Iterable[Training]) -> str:
    limit = spec["retrain"]["budget"]
    if limit is None:
        return ""
    spent, more = _spent(at, trainings), budget.reserve(spec)
    # To the tenth of a cent: sums of floats must not refuse the last training that fits.
    if round(spent + more, 3) <= limit:
        return ""
    return (
        f"{spent:.2f} USD of {budget.month(at)} are spent or reserved, and a training may cost {more:.2f}: "
        f"more than retrain.budget, {limit:g} USD a month"
    )


def _spent(at: datetime, trainings: Iterable[Training]) -> float:
    return budget.of_month(at, ((training.at, training.cost) for training in trainings if training.counts))


def _case(signal: Signal, spec: dict[str, Any], now: Situation, episode: Episode) -> str:
    """What was weighed, in words."""
    rows = f"on {signal.labelled} labels" if signal.labelled else "without labels enough to tell its harm"
    long = f"window {episode.windows} in a row" if episode.windows > 1 else "the first window"
    parts = [f"{long}, since {times.iso(episode.since)}, {rows}"]
    if episode.failed:
        parts.append(f"{_how(episode.failed[-1])} did not cure it")
    limit = spec["retrain"]["budget"]
    if limit is not None:
        spent = _spent(signal.at, now.trainings)
        parts.append(f"{spent:.2f} of {limit:g} USD of {budget.month(signal.at)} are spent")
    return "; ".join(parts)


def _how(training: Training) -> str:
    """`run flights-0a1b2c3d4e: rejected`"""
    end = training.package if training.outcome == "registered" else training.outcome
    came = {"InService": "deployed", "Replaced": "deployed", "RolledBack": "rolled back"}
    return f"run {training.run}: {came.get(end, (end or 'ended').lower())}"


def _ago(span: timedelta) -> str:
    hours = span.total_seconds() / 3600
    return f"{hours / 24:.1f} days" if abs(hours) >= 48 else f"{hours:.1f} h"
