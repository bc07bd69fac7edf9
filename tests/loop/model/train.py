"""The share of late flights by hour of departure: a model that costs milliseconds, for what the loop does
with it."""

import json
import os
from pathlib import Path

import pyarrow.parquet as pq


def main() -> None:
    columns = pq.read_table(os.environ["SM_CHANNEL_TRAIN"], columns=["departure_minute", "late"]).to_pydict()
    flights, late = [10.0] * 24, [2.0] * 24  # as if some had left in every hour
    for minute, was_late in zip(columns["departure_minute"], columns["late"], strict=True):
        flights[minute // 60] += 1
        late[minute // 60] += was_late
    shares = [part / whole for part, whole in zip(late, flights, strict=True)]
    Path(os.environ["SM_MODEL_DIR"], "shares.json").write_text(json.dumps(shares))


if __name__ == "__main__":
    main()
