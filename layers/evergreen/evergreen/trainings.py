"""Trainings in the ledger: one small record for each, from the moment it is asked for, beside its RUN.

    TRAINING#<at>#<run>   {run, kind, at, status: Asked|Admitted|Dropped, treats, reserved, hourly, asked_at}
    TRAININGS             {sequence}: counts the records above

Whoever adds one has read the others: `next_in_line` makes the transaction fail where another came between, so
that two at once cannot both find the budget unspent.
"""

from datetime import datetime, timedelta
from typing import Any

from . import budget, names, times
from .episodes import LOST_AFTER, Training
from .events import Cause
from .ledger import ABSENT, Ledger, Write, put

# How far back trainings are remembered in a decision.
HORIZON = timedelta(days=90)


def key(cause: Cause, run: str) -> str:
    """Where the record of a training stands."""
    return f"TRAINING#{cause.at}#{run}"


def record(
    model: str, cause: Cause, status: str, spec: dict[str, Any], treats: frozenset[str] = frozenset()
) -> Write:
    """A training as it is asked for, admitted or dropped."""
    run = names.run(model, cause.key)
    item = {
        "run": run,
        "kind": cause.kind,
        "at": cause.at,
        "status": status,
        "treats": sorted(treats)[:50],
        "reserved": budget.reserve(spec),
        "hourly": budget.hourly(spec),
        "asked_at": times.iso(times.now()),
    }
    if status == "Dropped":  # what was admitted by another delivery stays so
        return put(model, key(cause, run), item, f"{ABSENT} OR #status <> :admitted", admitted="Admitted")
    return put(model, key(cause, run), item)


def sequence(ledger: Ledger, model: str) -> int:
    """To be read before the trainings are."""
    return (ledger.get(model, "TRAININGS") or {}).get("sequence", 0)


def next_in_line(model: str, sequence: int, **details: Any) -> Write:
    """Refused where another training was written down since `sequence` was read."""
    item = details | {"sequence": sequence + 1}
    return put(model, "TRAININGS", item, f"{ABSENT} OR #sequence = :sequence", sequence=sequence)


def read(ledger: Ledger, model: str, at: datetime, cool_down: float) -> list[Training]:
    """Those that matter at `at`, later ones too: late signals are judged with what is known now."""
    since = min(at - max(HORIZON, times.seconds(cool_down)), at.replace(day=1))
    rows = ledger.query(model, f"TRAINING#{times.iso(since)[:10]}", "TRAINING#~")
    return [_training(ledger, model, row) for row in rows]


def _training(ledger: Ledger, model: str, row: dict[str, Any]) -> Training:
    status, cost, run = row["status"], row["reserved"], None
    if status == "Asked" and times.now() - times.parse(row["asked_at"]) > LOST_AFTER:
        status = "Dropped"
    if status == "Admitted":
        run = ledger.get(model, f"RUN#{row['run']}")
    ended = run is not None and run["status"] == "Ended"
    outcome, version, package = "", None, {}
    if run and ended:
        status, outcome, version = "Ended", run.get("outcome") or "", run.get("version")
        took = times.parse(run["ended_at"]) - times.parse(run["started_at"])
        cost = budget.spent(row["reserved"], row["hourly"], took.total_seconds())
        package = (version and ledger.get(model, names.package(int(version)))) or {}
    return Training(
        run=row["run"],
        kind=row["kind"],
        at=times.parse(row["at"]),
        status=status,
        treats=frozenset(row["treats"]),
        cost=0.0 if status == "Dropped" else cost,
        outcome=outcome,
        version=version,
        package=package.get("status", ""),
    )
