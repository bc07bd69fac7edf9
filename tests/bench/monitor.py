"""`make bench-monitor`: the monitor beside its peers. A topic is a module `monitor_<topic>.py`.

python -m tests.bench.monitor [topic ...]
"""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path


def topics() -> list[str]:
    return sorted(path.stem.removeprefix("monitor_") for path in Path(__file__).parent.glob("monitor_*.py"))


def main(chosen: list[str]) -> int:
    """Runs the topics in turn; the exit code is the number of those that failed."""
    known, failed = topics(), 0
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        print(f"no such topic: {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    for topic in chosen or known:
        print(f"== {topic}", flush=True)
        start = time.perf_counter()
        try:
            importlib.import_module(f"tests.bench.monitor_{topic}").run()
        except Exception as error:  # one peer that cannot be installed must not hide the others' figures
            failed += 1
            print(f"{topic} failed: {type(error).__name__}: {error}")
        print(f"   ({time.perf_counter() - start:.0f} s)\n", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
