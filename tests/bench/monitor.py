"""`make bench-monitor`: the monitor beside its peers. A topic is a module `monitor_<topic>.py`."""

from __future__ import annotations

import argparse
import ast
import importlib
import sys
import time
from pathlib import Path


def topics() -> dict[str, str]:
    """By name, what each measures: the first sentence of its module."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("monitor_*.py")):
        about = ast.get_docstring(ast.parse(path.read_text())) or ""
        found[path.stem.removeprefix("monitor_")] = " ".join(about.split()).split(". ")[0]
    return found


def main(arguments: list[str] | None = None) -> int:
    """Runs the topics in turn; the exit code is the number of those that failed."""
    known, failed = topics(), 0
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.monitor",
        description=__doc__,
        epilog="topics:\n" + "\n".join(f"  {topic:12} {about}" for topic, about in known.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "topics", nargs="*", metavar="topic", help="what to measure; everything where none is"
    )
    chosen = parser.parse_args(arguments).topics
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        parser.error(f"no such topic: {', '.join(unknown)}; there are {', '.join(known)}")
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
    sys.exit(main())
