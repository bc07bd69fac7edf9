"""What a run prints: a line per thing that happened; on a terminal a last line says where the world is."""

from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Sequence
from typing import TextIO

from local.record import changes, telling
from local.wording import clock, day, interval, number, short_day, span, who, why


class Console:
    """Lines from several threads, each with the run's own time before it."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        if isinstance(self._stream, io.TextIOWrapper):
            self._stream.reconfigure(errors="replace")  # a terminal without UTF-8 is no reason to stop
        self._live = self._stream.isatty()
        self._began = time.monotonic()
        self._status = ""
        self._lock = threading.Lock()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def say(self, text: str) -> None:
        at = self.seconds
        with self._lock:
            self._erase()
            self._stream.write(f"{int(at) // 60}:{at % 60:04.1f}  {text}\n")
            self._draw()

    def status(self, text: str) -> None:
        """Only on a terminal: the last line, which the next one replaces."""
        with self._lock:
            self._erase()
            self._status = text
            self._draw()

    def block(self, text: str) -> None:
        """A table or the like, without times, below an empty line."""
        with self._lock:
            self._erase()
            self._status = ""
            self._stream.write(f"\n{text}\n")
            self._stream.flush()

    def _erase(self) -> None:
        if self._live and self._status:
            self._stream.write("\r\x1b[K")

    def _draw(self) -> None:
        if self._live and self._status:
            self._stream.write(self._status)
        self._stream.flush()


def table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; the last one runs free."""
    widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(len(heads) - 1)]
    lines = [
        "  ".join([*(f"{cell:{width}}" for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in [heads, *rows]
    ]
    return "\n".join([title, *(f"  {line}" for line in lines)])


def timeline(record: dict) -> str:
    """The executions that did something."""
    shown = [execution for execution in record["executions"] if telling(execution)]
    rows = [
        (
            clock(execution["start"]),
            short_day(execution["at"]),
            execution["machine"],
            execution["ended_in"],
            clock(execution["seconds"]),
            why(execution["cause"]) + (f". {execution['reason']}" if execution["reason"] else ""),
        )
        for execution in shown
    ]
    quiet = len(record["executions"]) - len(shown)
    title = f"Timeline (without {quiet} executions that found nothing or were dropped: loop.json has them)"
    return table(title, ("at", "day", "machine", "ended in", "took", "because of"), rows)


def champions(record: dict) -> str:
    rows = []
    for champion in record["champions"]:
        score = champion["metrics"].get(record["primary"], {})
        before = (champion["predecessor"] or {}).get(record["primary"])
        held = champion["holdout"]
        rows.append(
            (
                f"v{champion['version']}",
                day(champion["promoted_at"]),
                f"{record['primary']} {interval(score)}" if score else "n/a",
                f"{number(before['value'])}" if before else "none",
                f"{held['rows']} rows, {span(held, 'from', 'until')}" if held.get("rows") else "n/a",
                f"{why(champion['cause'])}; approved by {who(champion['approved_by'])}",
            )
        )
    heads = ("version", "in service", "on its holdout", "predecessor there", "holdout", "caused by")
    return table("Champions", heads, rows)


def before_after(record: dict) -> str:
    """A table for each change of champion."""
    return "\n\n".join(one_change(rows) for rows in changes(record))


def one_change(rows: list[dict]) -> str:
    first = rows[0]
    span_ = f"{day(first['from'])} to {day(first['to'])}"
    title = f"Before and after: {first['rows']} rows of {span_}, scored by both"
    body = [
        (row["metric"], number(row["old"]), number(row["new"]), f"{row['new'] - row['old']:+.3f}")
        for row in rows
    ]
    return table(title, ("metric", f"v{first['old_version']}", f"v{first['new_version']}", "change"), body)
