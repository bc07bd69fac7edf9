"""A whole window from its captured lines to its report: what a function of the job image does after each
window. The year of flights, in a request per row, in one window; then the same counted as four shards and
merged."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from local import flights
from tests.bench import measure
from tests.bench.data import FOLDER

MODEL = Path(__file__).parents[2] / "models" / "flights"
SHARDS = 4
SPAN = ("--start", "2013-01-01T00:00Z", "--end", "2014-01-02T00:00Z")
VERB = "import sys; from jobs.monitor.__main__ import main; sys.exit(main(sys.argv[1:]))"


def run() -> None:
    folder = FOLDER / "window"
    # In a process of its own: a child's peak would begin with ours.
    code = "from tests.bench.monitor_window import prepare; prepare()"
    rows, size = json.loads(measure.once(code).output)
    known = ("--baseline", folder / "baseline", *SPAN, "--labels", folder / "labels")
    small = next((folder / "capture").iterdir())
    print(f"{'':34} {'rows':>9} {'wall s':>7} {'CPU s':>6} {'peak MB':>8}")
    show("analyze, one file", rows // SHARDS, analyze(folder, *known, "--capture", small))
    show(
        f"analyze, all ({size / 1e6:.0f} MB captured)",
        rows,
        analyze(folder, *known, "--capture", folder / "capture"),
    )
    shards = []
    for part in sorted((folder / "capture").iterdir()):
        output = folder / "shards" / part.name
        shards.append(measure.once(VERB, "profile", *known, "--capture", part, "--output", output))
    show(f"profile, the largest of {SHARDS} shards", rows // SHARDS, max(shards, key=lambda one: one.seconds))
    show(f"analyze, {SHARDS} shards merged", rows, analyze(folder, *known, "--shards", folder / "shards"))


def analyze(folder: Path, *arguments: object) -> measure.Run:
    return measure.fresh(VERB, "analyze", *arguments, "--output", folder / "report")


def show(what: str, rows: int, taken: measure.Run) -> None:
    print(f"{what:34} {rows:9,} {taken.seconds:7.2f} {taken.cpu:6.2f} {taken.peak:8.0f}", flush=True)


def prepare() -> None:
    """Writes the files; prints [rows, bytes captured]."""
    folder = FOLDER / "window"
    counts = capture(folder)
    learn(folder)
    print(json.dumps(counts))


def learn(folder: Path) -> None:
    """January and February, the last fortnight held out, answered by chance."""
    table = flights.rows(datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 3, 1, tzinfo=UTC))
    chance = np.random.default_rng(1).beta(1, 5, len(table))
    answered = table.append_column("prediction", pa.array((chance > 0.3).astype(float)))
    answered = answered.append_column("probability", pa.array(chance))
    cut = len(table) * 3 // 4
    pq.write_table(table.slice(0, cut), folder / "train.parquet")
    pq.write_table(answered.slice(cut), folder / "holdout.parquet")
    files = ("--train", folder / "train.parquet", "--holdout", folder / "holdout.parquet")
    measure.once(VERB, "baseline", *files, "--model", MODEL, "--output", folder / "baseline")


def capture(folder: Path) -> tuple[int, int]:
    """Capture and ground truth files, once; (rows, bytes captured)."""
    table = flights.table()
    if not (folder / "labels").is_dir():
        per_file = -(-len(table) // SHARDS)
        for part in range(SHARDS):
            (folder / "capture" / str(part)).mkdir(parents=True)
            rows = table.slice(part * per_file, per_file).to_pylist()
            lines = (line(row, part * per_file + index) for index, row in enumerate(rows))
            (folder / "capture" / str(part) / "a.jsonl").write_bytes(b"\n".join(lines) + b"\n")
        (folder / "labels").mkdir()
        with (folder / "labels" / "a.jsonl").open("w") as file:
            ids, labels = (table[name].to_pylist() for name in ("flight_id", "late"))
            for id_, label in zip(ids, labels, strict=True):
                truth = {"groundTruthData": {"data": str(label), "encoding": "CSV"}}
                file.write(
                    json.dumps(truth | {"eventMetadata": {"eventId": id_}, "eventVersion": "0"}) + "\n"
                )
    files = (folder / "capture").rglob("*.jsonl")
    return len(table), sum(path.stat().st_size for path in files)


def line(row: dict, number: int) -> bytes:
    """A request of one row, as SageMaker captures it."""
    moment = row["scheduled_departure"]
    body = {name: value for name, value in row.items() if name != "late"}
    body["scheduled_departure"] = moment.isoformat()
    side = {"observedContentType": "application/jsonlines", "encoding": "JSON"}
    answer = f'{{"prediction": {number % 2}, "probability": {number % 100 / 100}}}'
    event = {
        "captureData": {
            "endpointInput": side | {"mode": "INPUT", "data": orjson.dumps(body).decode()},
            "endpointOutput": side | {"mode": "OUTPUT", "data": answer},
        },
        "eventMetadata": {"eventId": f"e{number}", "inferenceTime": f"{moment:%Y-%m-%dT%H:%M:%SZ}"},
        "eventVersion": "0",
    }
    return orjson.dumps(event)
