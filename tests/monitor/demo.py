"""A small model: its training data, its holdout, and windows of it as SageMaker captures them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.contract import format_time
from jobs.monitor import baseline, datafiles
from jobs.monitor.window import Window
from jobs.spec import Feature, Spec

START = datetime(2026, 3, 2, tzinfo=UTC)
END = START + timedelta(days=7)
SPEC = Spec(
    name="demo",
    task="binary_classification",
    target="label",
    id="id",
    time="at",
    features={
        feature.name: feature
        for feature in (
            Feature("amount", "number", nullable=True),
            Feature("age", "integer"),
            Feature("city", "string"),
            Feature("plan", "string", values=("free", "paid")),
            Feature("member", "boolean"),
        )
    },
    entry="inference.py",
    protected=("region",),
    monitor={
        "lookback": "7d",
        "min_rows": 500,
        "data": {"drift": 0.1},
        "quality": {"metric": "log_loss", "tolerance": 0.05},
    },
)
Row = dict[str, Any]


def rows(count: int, start: datetime, days: float, seed: int = 0) -> list[Row]:
    """Stationary rows, evenly over the days."""
    rng = np.random.default_rng(seed)
    amount, age = rng.lognormal(3, 1, count), rng.integers(18, 90, count)
    # By chance, as values go missing: every fiftieth row would leave the days without any variation.
    gone = np.random.default_rng((seed, 50)).random(count) < 0.02
    city = rng.choice(["Bonn", "Kiel", "Ulm"], count)
    paid, member, north = (rng.random(count) < share for share in (0.3, 0.5, 0.4))
    return [
        {
            "id": f"{seed}-{index}",
            "at": (start + timedelta(days=days * index / count)).isoformat(),
            "amount": None if gone[index] else float(amount[index]),
            "age": int(age[index]),
            "city": str(city[index]),
            "plan": "paid" if paid[index] else "free",
            "member": bool(member[index]),
            "region": "north" if north[index] else "south",
        }
        for index in range(count)
    ]


def answers(of: list[Row]) -> list[Row]:
    chances = [0.1 + 0.6 * (row.get("age") or 0) / 90 for row in of]
    return [{"prediction": int(chance > 0.5), "probability": round(chance, 6)} for chance in chances]


def labels(of: list[Row], given: list[Row], seed: int = 1) -> dict[str, str]:
    """As the model says: it is calibrated."""
    drawn = np.random.default_rng(seed).random(len(of))
    return {
        row["id"]: str(int(draw < answer["probability"]))
        for row, answer, draw in zip(of, given, drawn, strict=True)
    }


def table(of: list[Row], truth: dict[str, str] | None = None) -> pa.Table:
    known = [row | {"at": datetime.fromisoformat(row["at"])} for row in of]
    if truth is not None:
        known = [row | {"label": float(truth[row["id"]])} for row in known]
    return pa.Table.from_pylist(known)


def holdout(spec: Spec = SPEC, seed: int = 3) -> Window:
    """Two thousand rows of the fortnight before START, answered and labelled."""
    held = rows(2000, START - timedelta(days=14), 14, seed)
    given = answers(held)
    truth = labels(held, given, seed)
    return baseline.held_out(spec, table(held, truth), datafiles.answers_of(spec.task, given))


def train(seed: int = 2, count: int = 6000) -> pa.Table:
    """Sixty days before the holdout."""
    return table(rows(count, START - timedelta(days=74), 60, seed))


def write(
    folder: Path,
    of: list[Row],
    given: list[Row],
    truth: dict[str, str] | None = None,
    change: Callable[[Row], Any] = lambda line: line,
    per_file: int = 500,
) -> None:
    """`capture/` with a request per row, and `labels/` where there are any."""
    (folder / "capture").mkdir(parents=True, exist_ok=True)
    for first in range(0, len(of), per_file):
        path = folder / "capture" / f"{first:06}" / "a.jsonl"
        path.parent.mkdir()
        pairs = zip(of[first : first + per_file], given[first : first + per_file], strict=True)
        lines = [change(line(row, answer, f"e{first + index}")) for index, (row, answer) in enumerate(pairs)]
        path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    if truth:
        path = folder / "labels" / "a.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text("".join(json.dumps(label(id_, value)) + "\n" for id_, value in truth.items()))


def line(row: Row, answer: Row, event: str, moment: datetime | None = None) -> Row:
    """A line of data capture."""
    side = {"observedContentType": "application/jsonlines", "encoding": "JSON"}
    given = side | {"mode": "INPUT", "data": json.dumps(row)}
    made = side | {"mode": "OUTPUT", "data": json.dumps(answer)}
    at = moment or datetime.fromisoformat(row["at"])
    return {
        "captureData": {"endpointInput": given, "endpointOutput": made},
        "eventMetadata": {"eventId": event, "inferenceTime": format_time(at)},
        "eventVersion": "0",
    }


def label(id_: str, value: str) -> Row:
    """A line of ground truth."""
    return {
        "groundTruthData": {"data": value, "encoding": "CSV"},
        "eventMetadata": {"eventId": id_},
        "eventVersion": "0",
    }
