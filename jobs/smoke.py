"""Rows that a staging endpoint is asked again: some of the holdout's, from all over it, each with what the
challenger answered when it was judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

ROWS = 50


def write(folder: Path, rows: pa.Table, answers: list[dict[str, Any]]) -> None:
    """`smoke.jsonl`: {"row", "answer"} a line, the row as requests have it, without the label."""
    step = max(1, len(rows) // ROWS)
    places = list(range(0, len(rows), step))[:ROWS]
    pairs = zip(rows.take(places).to_pylist(), (answers[place] for place in places), strict=True)
    lines = (orjson.dumps({"row": row, "answer": answer}, default=str) for row, answer in pairs)
    (folder / "smoke.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
