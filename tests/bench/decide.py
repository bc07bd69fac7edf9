"""A year of 1,000 simulated models through the decisions of layers/evergreen, beside two simple policies:
retrain on every violation, and retrain weekly.

    python -m tests.bench.decide [--models 1000] [--seed 4]

The world (`simulate`, seeded; no clock, no network) is the same for the three policies. Each model is
analysed weekly. What happens to it, independently of the others:

- episodes that hurt: 0 to 3 a year; quality falls beyond its tolerance, and in three of four a column drifts.
  A training cures 70 % of them for good and 15 % for one to three weeks; 15 % no training cures (a broken
  upstream, a concept that the features do not show). What is not cured for good passes after 4 to 12 weeks,
  the rest lasts until it is cured;
- drift that does no harm: 0 to 2 times a year, 2 to 10 weeks;
- noise: a false alarm of drift in 1 % of the windows, a false loss of quality in 0.5 %;
- labels: on time in 60 % of the models; in 25 % two weeks late (the window is analysed without them, and
  again when they are there); 15 % have none.

A training takes 30 to 90 minutes and costs its instance hours at prices.yaml. The gate rejects it where
there was nothing to gain, and in 5 % of the other cases; what passes is in service the next week. The loop's
policy is there twice: once nobody does anything about what trainings did not cure, once a person who is
called repairs it and trains, two weeks later.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[2] / "layers" / "evergreen"))

from evergreen import budget, decisions, spec, times
from evergreen.decisions import Answer, Signal, Situation
from evergreen.episodes import Training

from tests.unit.world import MODEL_YAML

START = times.parse("2026-01-05T00:00:00Z")
WEEK = timedelta(days=7)
WEEKS = 52
# A machine that costs something; the limits are model.yaml's defaults, but for the sample's.
SPEC = spec.parse(MODEL_YAML.replace("train.py, instance: ml.m5.large", "train.py, instance: ml.m5.4xlarge"))
LOSS = {"feature_name": "log_loss", "constraint_check_type": "model_quality_check", "description": "worse"}
DRIFT_NAMES = ("origin", "distance", "temp")


@dataclass(frozen=True)
class Trouble:
    """Something that changes in the world, in weeks. `cure` is how many weeks a training helps; None for
    good."""

    first: int
    last: int
    hurts: bool
    feature: str
    effect: float  # of the drift, in multiples of its limit; 0 where nothing drifts
    cure: int | None


@dataclass
class Model:
    """One model's year: its troubles, the noise of its windows, and how late its labels are (weeks; None:
    never)."""

    troubles: list[Trouble]
    false_drift: set[int]
    false_loss: set[int]
    label_delay: int | None
    luck: list[float]  # one draw a week: whether that week's training is rejected, how long it takes


@dataclass
class Life:
    """What a policy makes of it. `cured`: until which week; `seen`: what was wrong, week by week; `answered`:
    what hurt and was trained for or told to a person."""

    trainings: list[Training] = field(default_factory=list)
    windows: list[dict[str, Any]] = field(default_factory=list)
    told: dict[str, str] = field(default_factory=dict)
    version: int = 1
    cured: dict[Trouble, int] = field(default_factory=dict)
    seen: list[list[Trouble]] = field(default_factory=list)
    answered: set[Trouble] = field(default_factory=set)
    needless: int = 0
    futile: int = 0
    harmed: int = 0
    notified: int = 0
    called: int | None = None


def simulate(number: int, seed: int) -> Model:
    """One model's year."""
    chance = random.Random(f"{seed}/{number}")
    troubles = []
    for _ in range(chance.choice((0, 1, 1, 2, 3))):
        first = chance.randrange(2, WEEKS - 6)
        kind = chance.random()
        cure = None if kind < 0.7 else chance.randint(1, 3) if kind < 0.85 else 0
        lasts = WEEKS if cure is None else chance.randint(4, 12)
        effect = chance.uniform(1, 3) if chance.random() < 0.75 else 0.0
        troubles.append(Trouble(first, first + lasts, True, chance.choice(DRIFT_NAMES), effect, cure))
    for _ in range(chance.choice((0, 0, 1, 1, 2))):
        first = chance.randrange(2, WEEKS - 2)
        lasts = chance.randint(2, 10)
        effect = chance.uniform(1, 3)
        troubles.append(Trouble(first, first + lasts, False, chance.choice(DRIFT_NAMES), effect, None))
    delay = chance.random()
    return Model(
        troubles,
        {week for week in range(WEEKS) if chance.random() < 0.01},
        {week for week in range(WEEKS) if chance.random() < 0.005},
        0 if delay < 0.6 else 2 if delay < 0.85 else None,
        [chance.random() for _ in range(WEEKS)],
    )


def active(model: Model, life: Life, week: int) -> list[Trouble]:
    """What is wrong in a week, with what the trainings so far have cured."""
    return [
        trouble
        for trouble in model.troubles
        if trouble.first <= week < trouble.last and life.cured.get(trouble, -1) <= week
    ]


def window(model: Model, life: Life, week: int, labelled: bool) -> dict[str, Any]:
    """The ledger's record of a week."""
    now = life.seen[week]
    found = []
    if labelled and (week in model.false_loss or any(trouble.hurts for trouble in now)):
        found.append(LOSS)
    drifting = {trouble.feature: trouble.effect for trouble in now if trouble.effect}
    if week in model.false_drift:
        drifting.setdefault("temp", 1.1)
    found += [
        {
            "feature_name": name,
            "constraint_check_type": "baseline_drift_check",
            "value": effect * 0.2,
            "threshold": 0.2,
        }
        for name, effect in drifting.items()
    ]
    return {
        "start": times.iso(START + week * WEEK),
        "end": times.iso(START + (week + 1) * WEEK),
        "status": "Completed",
        "version": life.version,
        "violations": found,
        "labelled": 400 if labelled else 0,
    }


Policy = Callable[[Life, Signal | None], Answer]
REPAIRED_AFTER = 2  # weeks


def weighed(life: Life, signal: Signal | None) -> Answer:
    """The loop's own decision."""
    if signal is None:
        return Answer("leave", "nothing was found")
    champion = {"version": life.version, "deployment": "d", "promoted_at": times.iso(START), "previous": None}
    now = Situation(champion, life.trainings, life.windows, told=life.told)
    answer = decisions.assess(signal, SPEC, now)
    life.told |= dict.fromkeys(answer.tells, times.iso(signal.at))
    return answer


def every_violation(life: Life, signal: Signal | None) -> Answer:
    """As public samples do it."""
    return Answer("retrain" if signal else "leave", "")


def weekly(life: Life, signal: Signal | None) -> Answer:
    """A schedule, and nobody looks."""
    return Answer("retrain", "")


def train(model: Model, life: Life, week: int, at: datetime, treats: frozenset[str]) -> None:
    """One training and what comes of it: deployed before the next week where its gate passes it."""
    now, luck = life.seen[week], model.luck[week]
    harm = [trouble for trouble in now if trouble.hurts]
    can_help = any(trouble.cure != 0 for trouble in harm)
    life.needless += not harm
    life.futile += bool(harm) and not can_help
    life.answered |= set(harm)
    passes = can_help and luck > 0.05
    cost = budget.spent(budget.reserve(SPEC), budget.hourly(SPEC), 1800 + 3600 * luck)
    if passes:
        life.version += 1
        for trouble in now:
            if trouble.cure != 0:
                life.cured[trouble] = WEEKS if trouble.cure is None else week + 1 + trouble.cure
    outcome, package = ("registered", "InService") if passes else ("rejected", "")
    run = f"run-{len(life.trainings)}"
    life.trainings.append(
        Training(run, "violation", at, "Ended", treats, cost, outcome, life.version, package)
    )


def repair(life: Life, week: int) -> None:
    """A person who was called ends what hurts, and trains."""
    life.called = None
    life.cured |= {trouble: WEEKS for trouble in life.seen[week] if trouble.hurts}
    life.version += 1
    at, run = START + (week + 1) * WEEK, f"run-{len(life.trainings)}"
    life.trainings.append(
        Training(run, "person", at, cost=1.0, outcome="registered", version=life.version, package="InService")
    )


def live(model: Model, policy: Policy, is_repaired: bool = False) -> Life:
    """A year under a policy: each week's window is analysed at its end, and once more when its late labels
    are there. At most one training a week, for every policy."""
    life = Life()
    for week in range(WEEKS):
        now = active(model, life, week)
        life.seen.append(now)
        life.harmed += any(trouble.hurts for trouble in now)
        life.windows.append(window(model, life, week, model.label_delay == 0))
        looked = [week]
        if model.label_delay and week >= model.label_delay:
            old = week - model.label_delay
            life.windows[old] = window(model, life, old, True) | {"version": life.windows[old]["version"]}
            looked.insert(0, old)
        for place in looked:
            found = life.windows[place]
            signal = signal_of(found) if found["violations"] else None
            answer = policy(life, signal)
            if answer.action == "notify":
                life.notified += 1
                life.answered |= {trouble for trouble in now if trouble.hurts}
                life.called = week if answer.tells else life.called
            if answer.action == "retrain":
                at = times.parse(found["end"]) if signal else START + (week + 1) * WEEK
                train(model, life, week, at, answer.treats)
                break
        if is_repaired and life.called is not None and week == life.called + REPAIRED_AFTER:
            repair(life, week)
    return life


def signal_of(found: dict[str, Any]) -> Signal:
    """What the monitor says of a window."""
    start, end = times.parse(found["start"]), times.parse(found["end"])
    return Signal("violation", end, found["version"], found["violations"], found["labelled"], start=start)


def happened(model: Model) -> int:
    """Episodes that hurt, whatever is done."""
    return sum(trouble.hurts for trouble in model.troubles)


def run(models: int, seed: int) -> list[tuple[str, list[Life]]]:
    """Every model's year under every policy."""
    world = [simulate(number, seed) for number in range(models)]
    policies = {
        "weighed, nobody repairs": partial(live, policy=weighed),
        "weighed, a person repairs": partial(live, policy=weighed, is_repaired=True),
        "every violation": partial(live, policy=every_violation),
        "weekly": partial(live, policy=weekly),
    }
    return [(name, [life(model) for model in world]) for name, life in policies.items()]


def table(models: int, seed: int) -> str:
    """The policies side by side."""
    total = sum(happened(simulate(number, seed)) for number in range(models))
    lines = [
        f"{models:,} models, {WEEKS} weeks, seed {seed}: {total:,} episodes that hurt",
        "",
        "| policy | trainings | USD | needless | futile | missed | weeks with harm | people told |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, lives in run(models, seed):
        cells = (
            f"{sum(len(life.trainings) for life in lives):,}",
            f"{sum(training.cost for life in lives for training in life.trainings):,.0f}",
            f"{sum(life.needless for life in lives):,}",
            f"{sum(life.futile for life in lives):,}",
            f"{total - sum(len(life.answered) for life in lives):,}",
            f"{sum(life.harmed for life in lives):,}",
            f"{sum(life.notified for life in lives):,}",
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.decide", description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=4)
    asked = parser.parse_args()
    began = time.perf_counter()
    print(table(asked.models, asked.seed))
    print(
        f"\nneedless: nothing that hurts was there. futile: no training could help. missed: no training and"
        f"\nno person while it lasted. In {time.perf_counter() - began:.1f} s."
    )


if __name__ == "__main__":
    main()
