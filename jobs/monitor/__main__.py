"""The monitor on its own: files in, files out. `python -m jobs.monitor <verb> --help`.

A first look at two data files, without a model:
    python -m jobs.monitor baseline --train reference.parquet --output baseline
    python -m jobs.monitor analyze --baseline baseline --data current.parquet --output window
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from jobs.contract import JobError, parse_time

TASKS = ("binary_classification", "multiclass_classification", "regression")


def main(arguments: Sequence[str] | None = None) -> int:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # BLAS has nothing here that is worth a second thread
    chosen = _parser().parse_args(arguments)
    try:
        return chosen.run(chosen)
    except JobError as error:
        print(f"{chosen.verb}: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jobs.monitor",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    learn = _verb(verbs, "baseline", baseline, "what later windows are compared with")
    learn.add_argument("--train", type=Path, nargs="+", required=True, help="data files or folders")
    learn.add_argument(
        "--holdout", type=Path, nargs="+", help="rows with `prediction`, `probability` and the label"
    )
    learn.add_argument(
        "--artifact", type=_there, help="folder of the extracted model, to learn what it looks at"
    )
    _described(learn)
    for name, run, about in (
        ("profile", profile, "count one shard of a window; shards merge"),
        ("analyze", analyze, "the verdict on a window"),
    ):
        verb = _verb(verbs, name, run, about)
        verb.add_argument("--baseline", type=Path, required=True, help="what `baseline` wrote")
        rows = verb.add_mutually_exclusive_group(required=True)
        rows.add_argument("--capture", type=_there, help="folder of data capture files")
        rows.add_argument("--data", type=Path, nargs="+", help="data files with predictions and labels")
        verb.add_argument("--labels", type=_there, help="folder of ground truth files")
        verb.add_argument("--start", type=_time, help="ISO 8601; rows before it do not count")
        verb.add_argument("--end", type=_time, help="ISO 8601, exclusive")
        verb.add_argument("--model", type=_there, help="folder with model.yaml, instead of the baseline's")
        if name == "analyze":
            rows.add_argument("--shards", type=_there, help="folder of what `profile` or `merge` wrote")
            verb.add_argument("--state", type=_there, help="`state` folder of the window before")
            verb.add_argument("--pipeline", type=_there, help="data files of the same ids, for skew")
            verb.add_argument(
                "--artifact", type=_there, help="folder of the extracted model, for attributions"
            )
    join = _verb(verbs, "merge", merge, "several shards of a window as one")
    join.add_argument("shards", type=_there, nargs="+", help="folders of what `profile` or `merge` wrote")
    show = _verb(verbs, "report", report, "report.html again, from a window's files")
    show.add_argument("--window", type=Path, required=True, help="folder that `analyze` wrote")
    show.add_argument("--baseline", type=Path, required=True)
    return parser


def _verb(verbs: argparse._SubParsersAction, name: str, run, about: str) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=about, description=about)
    parser.set_defaults(run=run)
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    return parser


def _described(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", type=_there, help="folder with model.yaml; without it the data is described"
    )
    for name, about in (
        ("id", "column by which labels and answers are joined"),
        ("time", "column of each row's time"),
        ("target", "column of the label"),
    ):
        parser.add_argument(f"--{name}", default="", help=about)
    parser.add_argument("--task", choices=TASKS, default="")
    parser.add_argument(
        "--protected", nargs="*", default=[], help="columns whose groups are compared, no features"
    )


def baseline(chosen: argparse.Namespace) -> int:
    """Imports inside each verb: `--help` must not wait for NumPy."""
    from jobs.monitor import standalone

    print(standalone.learn(chosen))
    return 0


def profile(chosen: argparse.Namespace) -> int:
    from jobs.monitor import standalone

    standalone.count(chosen)[0].save(chosen.output)
    return 0


def merge(chosen: argparse.Namespace) -> int:
    from jobs.monitor import shard

    shard.merge(one for folder in chosen.shards for one in shard.load_all(folder)).save(chosen.output)
    return 0


def analyze(chosen: argparse.Namespace) -> int:
    from jobs.monitor import standalone

    print(standalone.judge(chosen))
    return 0


def report(chosen: argparse.Namespace) -> int:
    from jobs.monitor import analyze as windows
    from jobs.monitor.report import render

    chosen.output.mkdir(parents=True, exist_ok=True)
    page = render(windows.read(chosen.window, chosen.baseline))
    (chosen.output / "report.html").write_text(page, encoding="utf-8")
    return 0


def _there(text: str) -> Path:
    """A misspelt folder must not pass for an empty one."""
    if not Path(text).exists():
        raise argparse.ArgumentTypeError(f"there is no {text}")
    return Path(text)


def _time(text: str) -> datetime:
    try:
        return parse_time(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an ISO 8601 time") from None


if __name__ == "__main__":
    sys.exit(main())
