"""Scores a table with one model through its own inference script, in a process of its own: two models'
scripts and modules carry the same names. Rows travel as requests do (JSON lines), so that what is judged is
what will serve.

python -m jobs.score <rows.parquet> <model folder> <code folder> <entry> <scores.jsonl>
"""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

BATCH = 1000


def main(rows: str, model_dir: str, code_dir: str, entry: str, output: str) -> None:
    import pyarrow.parquet as pq

    from jobs.inference import JSON_LINES, Predictor

    predictor = Predictor(Path(model_dir), Path(code_dir), entry)
    table = pq.ParquetFile(rows).read()
    seconds = []
    with Path(output).open("wb") as file:
        for batch in table.to_batches(max_chunksize=BATCH):
            body = "\n".join(json.dumps(row, default=_encode) for row in batch.to_pylist()).encode()
            start = time.perf_counter()
            response, _ = predictor.invoke(body, JSON_LINES, JSON_LINES)
            seconds.append(time.perf_counter() - start)
            lines = response.splitlines()
            if len(lines) != batch.num_rows:
                raise ValueError(f"{entry} answered {len(lines)} predictions for {batch.num_rows} rows")
            file.writelines(line + b"\n" for line in lines)
    seconds.sort()
    latency = {"batch_rows": BATCH, "p50_ms": _at(seconds, 0.5), "p99_ms": _at(seconds, 0.99)}
    Path(output).with_suffix(".latency.json").write_text(json.dumps(latency))


def _encode(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _at(ordered: list[float], share: float) -> float:
    return round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(*sys.argv[1:])
