"""Container output on its way to CloudWatch Logs: kept for half a second, then written stream by stream."""

import logging
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .service import Service

log = logging.getLogger(__name__)
INTERVAL = 0.5  # seconds


class Logs:
    """One writer for all streams of a service (a part: `service.part(Logs)`)."""

    def __init__(self, service: "Service") -> None:
        self._host = service.host
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._waiting: dict[tuple[str, str], list[str]] = {}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sagemaker-logs", daemon=True)
        self._thread.start()

    def write(self, group: str, stream: str, line: str) -> None:
        with self._lock:
            self._waiting.setdefault((group, stream), []).append(line)

    def follow(self, lines: Iterable[str], group: str, stream: str, seen: Callable[[str], None]) -> None:
        """Write each line until the process closes its output; `seen` gets each too."""
        for line in lines:
            text = line.rstrip("\r\n")
            seen(text)
            self.write(group, stream, text)

    def flush(self) -> None:
        """Everything written so far is in CloudWatch when this returns."""
        with self._writing:
            with self._lock:
                waiting, self._waiting = self._waiting, {}
            for (group, stream), lines in waiting.items():
                try:
                    self._host.write_logs(group, stream, lines)
                except Exception:
                    log.exception("%d lines of %s/%s are lost", len(lines), group, stream)

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        self.flush()

    def _run(self) -> None:
        while not self._closing.wait(INTERVAL):
            self.flush()
