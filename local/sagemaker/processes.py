"""Subprocesses that never outlive the server.

Each runs in a process group of its own. A guardian process holds the other end of a pipe: when the server
dies, even of SIGKILL, the pipe closes and the guardian kills every group that is left, grandchildren included
(`PR_SET_PDEATHSIG` reaches neither those nor macOS, and fires when a mere thread ends).
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

_GUARDIAN = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
groups = set()
for line in sys.stdin:
    verb, group = line.split()
    (groups.add if verb == "start" else groups.discard)(int(group))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass
"""


class Processes:
    """Starts and ends subprocesses; `close` ends all of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[int, subprocess.Popen] = {}
        self._guardian = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _GUARDIAN],
            stdin=subprocess.PIPE,
            text=True,
            bufsize=1,
            start_new_session=True,
        )

    def start(
        self,
        command: list[str],
        *,
        env: dict[str, str],
        cwd: Path,
        stdout: int | IO = subprocess.PIPE,
        stderr: int | IO = subprocess.STDOUT,
    ) -> subprocess.Popen:
        process = subprocess.Popen(
            command,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        with self._lock:
            self._running[process.pid] = process
            self._tell("start", process.pid)
        return process

    def signal(self, process: subprocess.Popen, number: int) -> None:
        """Send `number` to the whole group; a group that is gone is what the caller wanted."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)

    def stop(self, process: subprocess.Popen, grace: float) -> int:
        """SIGTERM, `grace` seconds, SIGKILL; the exit code."""
        if process.poll() is None:
            self.signal(process, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(grace)
        return self.finish(process)

    def finish(self, process: subprocess.Popen) -> int:
        """Kill what is left of the group, and forget it; the exit code."""
        self.signal(process, signal.SIGKILL)
        code = process.wait()
        with self._lock:
            self._running.pop(process.pid, None)
            self._tell("end", process.pid)
        return code

    def close(self) -> None:
        with self._lock:
            running = list(self._running.values())
        for process in running:
            self.finish(process)
        with contextlib.suppress(BrokenPipeError):
            self._guardian.stdin.close()
        self._guardian.wait()

    def _tell(self, verb: str, group: int) -> None:
        with contextlib.suppress(BrokenPipeError, ValueError):
            self._guardian.stdin.write(f"{verb} {group}\n")
