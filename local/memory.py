"""The peak memory of a process tree, sampled."""

from __future__ import annotations

import contextlib
import threading

import psutil

SAMPLE_SECONDS = 1.0


class Memory:
    """While entered, samples this process and all its descendants. `peak_mb` sums their resident sets, so
    that pages that several of them share count several times: the true peak is lower."""

    def __init__(self) -> None:
        self.peak_mb = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="memory", daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _sample(self) -> None:
        own = psutil.Process()
        while not self._stop.wait(SAMPLE_SECONDS):
            total = 0
            for process in [own, *own.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    total += process.memory_info().rss
            self.peak_mb = max(self.peak_mb, total // 2**20)
