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

# A run prepares and evaluates with one processing instance each (train.asl.yaml).
PROCESSING_JOBS = 2


@cache
def prices() -> dict[str, float]:
    """USD an hour by instance type."""
    return yaml.safe_load((Path(__file__).parent / "prices.yaml").read_text())


def unpriced(spec: dict[str, Any]) -> dict[str, str]:
    """The instance types of a run that prices.yaml does not know, by the key that names them."""
    types = {
        "train.instance": spec["train"]["instance"],
        "processing.instance": spec["processing"]["instance"],
    }
    return {key: name for key, name in types.items() if name not in prices()}


def hourly(spec: dict[str, Any]) -> float | None:
    """USD an hour of all instances that a run has at once, those that train or the one that processes. None
    where prices.yaml does not know one of their types."""
    if unpriced(spec):
        return None
    train = spec["train"]
    training = prices()[train["instance"]] * train["count"] * tuning.parallel(train.get("tune"))
    return max(training, prices()[spec["processing"]["instance"]])


def reserve(spec: dict[str, Any]) -> float:
    """The most that a training can cost: each of its jobs up to its time limit at the price of its own
    instances, all those of a search. USD; what has no price counts as nothing."""
    train, processing = spec["train"], spec["processing"]
    seconds = train["timeout"] * train["count"] * tuning.jobs(train.get("tune"))
    training = prices().get(train["instance"], 0.0) * seconds
    around = prices().get(processing["instance"], 0.0) * processing["timeout"] * PROCESSING_JOBS
    return (training + around) / 3600


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
