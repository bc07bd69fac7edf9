"""What trainings cost, as an estimate: instance hours at the prices of prices.yaml, counted by the calendar
month (UTC) of their causes.

A training that has not ended is counted at the most that it may cost, its time limits; one that has ended at
the time that it took. What is left is therefore left whatever happens.
"""

from collections.abc import Iterable
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from . import tuning

# Seconds: the StoppingConditions of the jobs that prepare and evaluate, one instance each (train.asl.yaml).
PREPARE_AND_EVALUATE = 2 * 7200


@cache
def prices() -> dict[str, float]:
    """USD an hour by instance type."""
    return yaml.safe_load((Path(__file__).parent / "prices.yaml").read_text())


def hourly(train: dict[str, Any]) -> float | None:
    """USD an hour of all instances that the `train` section runs at once; None where prices.yaml does not
    know their type."""
    price = prices().get(train["instance"])
    return None if price is None else price * train["count"] * tuning.parallel(train.get("tune"))


def reserve(train: dict[str, Any]) -> float:
    """The most that a training can cost: each of its jobs up to its time limit, all those of a search. USD; 0
    where there is no price."""
    price = prices().get(train["instance"], 0.0)
    seconds = train["timeout"] * train["count"] * tuning.jobs(train.get("tune"))
    return price * (seconds + PREPARE_AND_EVALUATE) / 3600


def spent(reserved: float, hourly_price: float | None, seconds: float) -> float:
    """The cost of a training that took so long from its admission to its end, all instances counted for all
    of it: somewhat more than the bill will say."""
    return min(reserved, (hourly_price or 0.0) * max(0.0, seconds) / 3600)


def month(moment: datetime) -> str:
    """`2013-04`"""
    return moment.strftime("%Y-%m")


def of_month(at: datetime, costs: Iterable[tuple[datetime, float]]) -> float:
    """The sum of the costs (time of the cause, USD) that fall into the month of `at`."""
    return sum(cost for moment, cost in costs if month(moment) == month(at))
