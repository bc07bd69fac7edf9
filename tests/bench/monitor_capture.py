"""200,000 captured lines, parsed by us and by polars in turn: each payload type, as text and as base64. Ours
does more (types are checked, ids joined, duplicates and broken lines counted); both give typed columns."""

from __future__ import annotations

import base64
import json
import random
import statistics
import subprocess
import tempfile
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from jobs import spec
from jobs.monitor import window
from jobs.monitor.schema import Schema
from tests.bench.environments import environment

LINES, FILES, REPEATS = 200_000, 20, 5
BOUND = 1.3
PEER = Path(__file__).parent / "peers" / "polars_capture.py"
FLIGHTS = Path(__file__).parents[2] / "models" / "flights"
START = datetime(2026, 3, 2, tzinfo=UTC)
END = START + timedelta(days=7)
TYPES = {"csv": "text/csv", "json": "application/json", "jsonlines": "application/jsonlines"}


def write(folder: Path, kind: str, is_base64: bool, lines: int = LINES) -> None:
    """Capture files of flights as SageMaker writes them, one row per request."""
    random.seed(0)
    for number in range(FILES):
        with (folder / f"{number:03d}.jsonl").open("w") as out:
            for index in range(number * lines // FILES, (number + 1) * lines // FILES):
                at = START + index * (END - START) / lines
                out.write(json.dumps(_event(_row(index, at), kind, is_base64, at)) + "\n")


def run() -> None:
    schema = Schema.of(spec.load(FLIGHTS))
    with subprocess.Popen(
        [str(environment("polars")), str(PEER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as peer:
        for kind in TYPES:
            for is_base64 in (False, True):
                with tempfile.TemporaryDirectory() as folder:
                    write(Path(folder), kind, is_base64)
                    _compare(peer, Path(folder), kind, is_base64, schema)
        peer.stdin.close()


def _compare(peer: subprocess.Popen, folder: Path, kind: str, is_base64: bool, schema: Schema) -> None:
    encoding = "base64" if is_base64 else "text"
    ours, theirs = [], []
    for _ in range(REPEATS):
        start = time.perf_counter()
        found, _ = window.read(folder, None, schema, START, END)
        ours.append(time.perf_counter() - start)
        peer.stdin.write(f"{kind} {encoding} {folder}\n")
        peer.stdin.flush()
        seconds, rows, total = map(float, peer.stdout.readline().split())
        theirs.append(seconds)
        assert len(found) == rows == LINES and np.isclose(found.probability.sum(), total)
    mine, other = statistics.median(ours), statistics.median(theirs)
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    verdict = "ok" if ratio <= BOUND else "MISSED"
    print(
        f"{LINES:,} captured lines, {kind:9} {encoding:6}: ours {mine:.2f} s, polars {other:.2f} s, "
        f"ratio {ratio:.2f} (at most {BOUND}) {verdict}",
        flush=True,
    )


def _row(index: int, at: datetime) -> dict[str, Any]:
    draw = random.random
    return {
        "flight_id": f"{index}",
        "scheduled_departure": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "origin": random.choice(("EWR", "JFK", "LGA")),
        "dest": random.choice(("ATL", "BOS", "CLT", "DEN", "ORD", "SFO")),
        "carrier": random.choice(("AA", "B6", "DL", "UA")),
        "weekday": at.weekday(),
        "departure_minute": at.hour * 60 + at.minute,
        "distance": round(2500 * draw(), 1),
        "temp": None if draw() < 0.02 else round(100 * draw(), 2),
        "dewp": round(70 * draw(), 2),
        "humid": round(100 * draw(), 2),
        "wind_speed": round(30 * draw(), 5),
        "precip": 0.0,
        "pressure": round(1000 + 30 * draw(), 1),
        "visib": 10.0,
    }


def _event(row: dict[str, Any], kind: str, is_base64: bool, at: datetime) -> dict[str, Any]:
    answer = {"prediction": int(random.random() < 0.3), "probability": round(random.random(), 6)}
    if kind == "csv":
        cells = list(row.values())[2:]
        bodies = [",".join("" if cell is None else str(cell) for cell in cells)]
        bodies.append(",".join(map(str, answer.values())))
    elif kind == "json":
        bodies = [json.dumps({"instances": [row]}), json.dumps({"predictions": [answer]})]
    else:
        bodies = [json.dumps(row) + "\n", json.dumps(answer) + "\n"]
    captured = {}
    for side, body in zip(("Input", "Output"), bodies, strict=True):
        encoding = "CSV" if kind == "csv" else "JSON"
        if is_base64:
            encoding, body = "BASE64", base64.b64encode(body.encode()).decode()
        captured[f"endpoint{side}"] = {
            "observedContentType": TYPES[kind],
            "mode": side.upper(),
            "data": body,
            "encoding": encoding,
        }
    metadata = {
        "eventId": str(uuid.UUID(int=random.getrandbits(128))),
        "inferenceId": row["flight_id"],
        "inferenceTime": f"{at:%Y-%m-%dT%H:%M:%SZ}",
    }
    return {"captureData": captured, "eventMetadata": metadata, "eventVersion": "0"}


if __name__ == "__main__":
    run()
