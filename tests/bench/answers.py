"""How often the alarm on answers goes off in a minute of a canary, for sound versions and for broken ones.

    python -m tests.bench.answers [--requests 60] [--seed 1]

The example's own script trains a model at the first of each month from March to November, as the loop would
(90 days, the newest 14 held out). Each is then in service for 28 days of real flights, beside what follows
it; a tenth of the requests of one row go to the new fleet, drawn by chance. The alarm is the product's
expression, computed by the local CloudWatch's metric math.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.append(str(Path(__file__).resolve().parents[2] / "layers" / "evergreen"))
sys.path.append(str(Path(__file__).resolve().parents[2] / "models" / "flights"))

from evergreen import answers as alarm
from inference import model_fn, predict_fn

from jobs import answers
from local import flights
from local.alarms import compute

TRAIN = Path(__file__).resolve().parents[2] / "models" / "flights" / "train.py"
MONTHS = [datetime(2013, month, 1, tzinfo=UTC) for month in range(3, 12)]
HOLDOUT, WINDOW, SERVED = timedelta(days=14), timedelta(days=90), timedelta(days=28)
SHARE = 0.1
LIMITS = (0.0, 0.5, 1.0, 1.5, 2.0)
AGAIN, SUCCESSOR = "the same model again", "its retrained successor"
CONSTANTS = {f"a version that always answers {value:g}": value for value in (0.99, 0.5)}


def trained(folder: Path, at: datetime) -> dict:
    """The model that the loop would have trained then."""
    folder.mkdir()
    rows = flights.rows(max(at - WINDOW, datetime(2013, 1, 1, tzinfo=UTC)), at - HOLDOUT)
    pq.write_table(rows, folder / "train.parquet")
    command = [sys.executable, str(TRAIN)]
    arguments = ["--train", str(folder / "train.parquet"), "--model-dir", str(folder)]
    subprocess.run([*command, *arguments], check=True, stdout=subprocess.DEVNULL)
    return model_fn(str(folder))


def answered(model: dict, rows: pa.Table) -> np.ndarray:
    return np.array([answer["probability"] for answer in predict_fn(rows.to_pylist(), model)])


def minutes(old: dict, new: dict, at: datetime, requests: int, chance: np.random.Generator) -> Counter:
    """(version, limit) -> in how many minutes the alarm would go off; `minutes`: of how many."""
    held, served = flights.rows(at - HOLDOUT, at), flights.rows(at, at + SERVED)
    then, now = (predict_fn(held.to_pylist(), model) for model in (old, new))
    expression, unchanged = (
        alarm.metrics(answers.expected(each, then), "new", "old")[0]["Expression"] for each in (now, then)
    )
    champion, successor = answered(old, served), answered(new, served)
    found: Counter = Counter()
    for first in range(0, len(champion) - requests, requests):
        ours = chance.random(requests) < SHARE
        if not 0 < ours.sum() < requests:
            continue
        part = slice(first, first + requests)
        versions = {
            AGAIN: (unchanged, champion[part][ours].mean()),
            SUCCESSOR: (expression, successor[part][ours].mean()),
            **{version: (expression, value) for version, value in CONSTANTS.items()},
        }
        told = {"old": champion[part][~ours].mean()}
        told |= {"new_requests": float(ours.sum()), "old_requests": float((~ours).sum())}
        found["minutes"] += 1
        for version, (metric, mean) in versions.items():
            beyond = compute(metric, told | {"new": mean})
            found.update((version, limit) for limit in LIMITS if beyond > limit)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=60, help="of one row, a minute (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chance, found = np.random.default_rng(options.seed), Counter()
    with tempfile.TemporaryDirectory() as folder:
        models = {at: trained(Path(folder) / f"{at:%m}", at) for at in MONTHS}
    for before, at in pairwise(MONTHS):
        found += minutes(models[before], models[at], at, options.requests, chance)
    print(f"share of {found['minutes']:,} minutes in which the alarm goes off, by ship.alarms.answers")
    print(f"{'':36}" + "".join(f"{limit:>9g}" for limit in LIMITS))
    for version in (AGAIN, SUCCESSOR, *CONSTANTS):
        shares = (found[version, limit] / found["minutes"] for limit in LIMITS)
        print(f"{version:36}" + "".join(f"{share:9.2%}" for share in shares))


if __name__ == "__main__":
    main()
