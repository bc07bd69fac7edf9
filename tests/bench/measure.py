"""Fresh processes, timed from start to end, imports and loading included: that is what one waits for."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
REPEATS = 3
# For both sides, as in the job image: BLAS without threads of its own, freed memory kept for what comes next.
ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_TRIM_THRESHOLD_": "268435456",
    "MALLOC_MMAP_THRESHOLD_": "268435456",
}


@dataclass(frozen=True)
class Run:
    seconds: float  # wall
    cpu: float  # seconds of all threads
    peak: float  # MB, resident
    output: str


def fresh(code: str, *arguments: Any, python: Path | str = sys.executable, repeats: int = REPEATS) -> Run:
    """The median run, by wall time, of a program in processes of its own. Raises RuntimeError."""
    runs = sorted(
        (once(code, *arguments, python=python) for _ in range(repeats)), key=lambda run: run.seconds
    )
    return runs[len(runs) // 2]


def in_turns(sides: dict[str, Callable[[], Run]], repeats: int = REPEATS) -> dict[str, Run]:
    """The median run of each side, taken in turns: whatever else the machine does meets all of them."""
    runs: dict[str, list[Run]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, side in sides.items():
            runs[name].append(side())
    return {name: sorted(taken, key=lambda run: run.seconds)[len(taken) // 2] for name, taken in runs.items()}


def once(code: str, *arguments: Any, python: Path | str = sys.executable) -> Run:
    """One run. Raises RuntimeError where it fails."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [str(python), "-W", "ignore", "-c", code, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    )
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    if process.returncode:
        raise RuntimeError(f"the benchmark's program failed ({process.returncode}): {output[-2000:]}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, output)


def show(title: str, ours: float, peer: float, unit: str = "s", bound: str = "") -> None:
    """One line: ours, the peer's, how many times ours goes into it."""
    ratio = peer / ours if ours else float("inf")
    print(
        f"{title:<75} ours {ours:9.3f} {unit}   peer {peer:9.3f} {unit}   {ratio:8.2f}x   {bound}", flush=True
    )
