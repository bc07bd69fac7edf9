"""The pool of Lambda workers: lent to one event at a time, kept warm for the next."""

import io
import json
import shutil
import threading
import time
import zipfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from local.sagemaker.processes import Processes
from local.workers import Function, Result, Worker

IDLE_SECONDS = 120.0
MAX_IDLE = 24  # processes that wait for an event, over all functions; about 45 MB each
RUNTIME_PACKAGES = ("awslambdaric", "boto3")  # what AWS's Python runtime holds; a layer brings the rest


class Pool:
    """Workers of all functions: lent to a caller, kept warm for the next, ended when idle or in the way."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._processes = Processes()
        self._packages = _runtime_packages(root / "runtime")
        self._lock = threading.Lock()
        self._idle: dict[str, list[Worker]] = {}
        self._closed = threading.Event()
        threading.Thread(target=self._reap, name="lambda-reaper", daemon=True).start()

    def invoke(
        self, function: Function, event: object, request_id: str, trace_id: str | None = None
    ) -> Result:
        payload = json.dumps(event, ensure_ascii=False).encode()
        worker = self._take(function) or Worker(self._processes, function, self._packages)
        result, reusable = worker.invoke(payload, request_id, trace_id)
        if reusable and not self._closed.is_set():
            self._put_back(worker)
        else:
            worker.close()
        return result

    def unpack(self, digest: str, archives: Iterable[bytes]) -> Path:
        """The folder that holds the archives' files, unpacked once for each digest."""
        folder = self.root / "code" / digest.replace("/", "_").rstrip("=")
        if not folder.exists():
            partial = folder.with_name(f"{folder.name}.{threading.get_ident()}")
            partial.mkdir(parents=True)
            for archive in archives:
                zipfile.ZipFile(io.BytesIO(archive)).extractall(partial)
            try:
                partial.rename(folder)
            except OSError:  # another thread was first
                shutil.rmtree(partial)
        return folder

    def close(self) -> None:
        self._closed.set()
        self._processes.close()

    def _take(self, function: Function) -> Worker | None:
        with self._lock:
            idle = self._idle.get(function.key)
            return idle.pop() if idle else None

    def _put_back(self, worker: Worker) -> None:
        worker.last_used = time.monotonic()
        with self._lock:
            self._idle.setdefault(worker.function.key, []).append(worker)
            waiting = sorted((w for group in self._idle.values() for w in group), key=lambda w: w.last_used)
            surplus = waiting[: max(0, len(waiting) - MAX_IDLE)]
            self._forget(surplus)
        for old in surplus:
            old.close()

    def _reap(self) -> None:
        while not self._closed.wait(5):
            limit = time.monotonic() - IDLE_SECONDS
            with self._lock:
                old = [w for group in self._idle.values() for w in group if w.last_used < limit]
                self._forget(old)
            for worker in old:
                worker.close()

    def _forget(self, workers: list[Worker]) -> None:
        for worker in workers:
            self._idle[worker.function.key].remove(worker)


def _runtime_packages(folder: Path) -> Path:
    """A folder with links to the packages that AWS's runtime holds, and to nothing else."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in _with_requirements(RUNTIME_PACKAGES):
        for file in metadata.distribution(name).files or []:
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (folder / top).exists():
                (folder / top).symlink_to(Path(metadata.distribution(name).locate_file(top)).resolve())
    return folder


def _with_requirements(names: Iterable[str]) -> set[str]:
    found: set[str] = set()
    wanted = list(names)
    while wanted:
        name = wanted.pop()
        if name in found:
            continue
        found.add(name)
        requirements = map(Requirement, metadata.requires(name) or [])
        wanted += [r.name for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]
    return found
