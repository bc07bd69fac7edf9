"""What the monitor remembers between the windows of a model: how good each day was, the rows that wait for a
label, and an entry per window for the report. Keyed by window: one that is analysed again replaces
what it said before."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from jobs.contract import JobError, parse_time
from jobs.monitor import outcomes

FORMAT = 1
FILE = "state.json"
KEPT = 400  # windows


@dataclass
class State:
    """`baseline` is the digest of the baseline that it belongs to; `losses` what History.as_dict gave;
    `waiting` the rows without a label; `windows` in order of their ends."""

    baseline: str
    losses: dict[str, Any] | None = None
    waiting: pa.Table | None = None
    windows: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def load(cls, folder: Path | None, baseline: str) -> State:
        """Of the window before; an empty one where there is none. Where it belongs to another baseline (the
        champion was replaced), its past remains and its rows no longer wait: another model answered them.

        Raises JobError for a file that is not one of ours.
        """
        path = folder / FILE if folder else None
        if path is None or not path.is_file():
            return cls(baseline)
        try:
            content = json.loads(path.read_text())
            if content["format"] != FORMAT:
                return cls(baseline)
            is_same = content["baseline"] == baseline
            waiting = outcomes.load(path.with_name("waiting.parquet")) if is_same else None
            return cls(baseline, content["losses"], waiting, content["windows"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise JobError(f"the state of the windows before cannot be read: {error!r}") from error

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        content = {
            "format": FORMAT,
            "baseline": self.baseline,
            "losses": self.losses,
            "windows": self.windows,
        }
        (folder / FILE).write_text(json.dumps(content, allow_nan=False) + "\n")
        if self.waiting is not None:
            outcomes.save(self.waiting, folder / "waiting.parquet")

    def remember(self, entry: dict[str, Any]) -> None:
        """`entry` has `start` and `end`."""
        others = [known for known in self.windows if _span(known) != _span(entry)]
        self.windows = sorted([*others, entry], key=lambda known: parse_time(known["end"]))[-KEPT:]

    def until(self, end: str) -> list[dict[str, Any]]:
        """The windows that ended by then: one that is analysed late must not know its future."""
        return [known for known in self.windows if parse_time(known["end"]) <= parse_time(end)]


def _span(entry: dict[str, Any]) -> tuple[str, str]:
    return entry["start"], entry["end"]
