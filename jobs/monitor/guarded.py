"""Somebody else's code in a process of its own: a time limit, no credentials handed down, nothing left
running. It is no sandbox: the code is the model owner's, and may only not take the monitor down with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from jobs.contract import JobError

ROOT = Path(__file__).parents[2]  # where the package `jobs` lies
KEPT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TZ", "TMPDIR", "VIRTUAL_ENV", "SSL_CERT_FILE")
WORDS = 500  # characters of what the code said


def run(module: str, arguments: Sequence[Any], timeout: float) -> None:
    """`python -m module arguments...`; `timeout` in seconds.

    Raises JobError with the last line that the process wrote, or with what stopped it.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if name in KEPT or name.startswith(("SM_", "SAGEMAKER_"))
    }
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with tempfile.TemporaryFile() as said, tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise JobError(f"stopped after {timeout:g} seconds") from None
        finally:
            with suppress(ProcessLookupError):  # what it started itself goes with it
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if code:
            raise JobError(_last_words(said, code))


def _last_words(said: Any, code: int) -> str:
    size = said.seek(0, os.SEEK_END)
    said.seek(max(0, size - 10_000))
    lines = [line for line in said.read().decode(errors="replace").splitlines() if line.strip()]
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    words = lines[-1].strip().removeprefix("jobs.contract.JobError: ") if lines else f"ended with code {code}"
    return words[:WORDS]
