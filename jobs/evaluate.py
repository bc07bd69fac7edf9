"""evaluate: champion and challenger score the same held-out rows, each through its own inference script.

Inputs: `holdout`, `train` (Parquet), `challenger` (model.tar.gz), `code`; where there is a champion,
`champion` and `champion_code`. Outputs: `evaluation/evaluation.json`, `baseline/` for the monitor.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs import baseline, contract, metrics, predictions
from jobs import spec as model_spec
from jobs.columns import codes, microseconds
from jobs.metrics import Scores
from jobs.spec import Spec

MAX_SLICES = 20
MIN_SLICE_ROWS = 50


@dataclass(frozen=True)
class Scored:
    answers: list[dict[str, Any]]
    latency: dict[str, Any]


def main() -> None:
    code = contract.input_dir("code")
    spec = model_spec.load(code)
    rows = contract.input_dir("holdout") / "holdout.parquet"
    holdout = pq.ParquetFile(rows).read()
    train = pq.ParquetFile(contract.input_dir("train") / "train.parquet").read()
    challenger, champion = score_both(rows, spec, code)
    evaluation, scores = compare(spec, holdout, challenger, champion)
    contract.write_json(contract.output_dir("evaluation") / "evaluation.json", evaluation)
    watched = predictions.monitored(spec.task, challenger.answers)
    figures = evaluation["challenger"]["metrics"]
    baseline.write(contract.output_dir("baseline"), spec, train, holdout, watched, scores, figures)
    message = sentence(spec, evaluation)
    contract.write_message(message)
    print(message)


def score_both(rows: Path, spec: Spec, code: Path) -> tuple[Scored, Scored | None]:
    """Both models at once, each in a process of its own. Raises JobError with what the script raised."""
    champion_code = contract.optional_input_dir("champion_code")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as scorings:
        root = Path(folder)
        challenger = scorings.enter_context(
            _Scoring(root / "challenger", rows, contract.input_dir("challenger"), code, spec.entry)
        )
        if not champion_code:
            return challenger.result(), None
        entry = model_spec.load(champion_code).entry
        champion = scorings.enter_context(
            _Scoring(root / "champion", rows, contract.input_dir("champion"), champion_code, entry)
        )
        return challenger.result(), champion.result()


def compare(
    spec: Spec, holdout: pa.Table, challenger: Scored, champion: Scored | None
) -> tuple[dict[str, Any], Scores]:
    """The content of evaluation.json, and the challenger's scores."""
    labels = holdout[spec.target].to_pylist()
    times = microseconds(holdout[spec.time])
    block = metrics.blocks(times)
    groups = list(_slices(holdout, spec))
    ours = predictions.to_scores(spec.task, labels, challenger.answers)
    evaluation: dict[str, Any] = {
        "task": spec.task,
        "primary": spec.gate.get("primary"),
        "rows": len(holdout),
        **contract.span(times),
        "challenger": _figures(ours, block, groups),
        "champion": None,
        "difference": None,
        "latency": {"challenger": challenger.latency},
    }
    if champion:
        theirs = predictions.to_scores(spec.task, labels, champion.answers)
        evaluation["champion"] = _figures(theirs, block, groups)
        evaluation["difference"] = metrics.difference(ours, theirs, block)
        evaluation["latency"]["champion"] = champion.latency
    return evaluation, ours


def sentence(spec: Spec, evaluation: dict[str, Any]) -> str:
    primary = evaluation["primary"] or metrics.names(spec.task)[0]
    figure = _shown(evaluation["challenger"]["metrics"][primary])
    text = f"{primary} {figure} on {evaluation['rows']:,} held-out rows"
    if evaluation["champion"]:
        text += f", the champion {_shown(evaluation['champion']['metrics'][primary])}"
    return text


class _Scoring:
    """`python -m jobs.score` under way."""

    def __init__(self, folder: Path, rows: Path, artifact: Path, code: Path, entry: str):
        self._name = folder.name
        self._answers = folder / "scores.jsonl"
        model = folder / "model"
        model.mkdir(parents=True)
        archive = next(iter(sorted(artifact.glob("*.tar.gz"))), None)
        if archive is None:
            raise contract.JobError(f"the input `{artifact.name}` has no model.tar.gz")
        with tarfile.open(archive) as files:
            files.extractall(model, filter="data")
        arguments = [str(path) for path in (rows, model, code, entry, self._answers)]
        path = os.pathsep.join(
            [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        )
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jobs.score", *arguments],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        )

    def __enter__(self) -> _Scoring:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()  # nothing is left running where the other one failed
        self._process.wait()

    def result(self) -> Scored:
        _, stderr = self._process.communicate()
        if stderr:
            print(stderr, file=sys.stderr, end="")
        if self._process.returncode:
            from jobs.train import last_exception

            reason = last_exception(stderr.splitlines()) or f"exit code {self._process.returncode}"
            raise contract.JobError(f"the {self._name} cannot score the holdout: {reason}")
        with self._answers.open() as lines:
            answers = [json.loads(line) for line in lines]
        return Scored(answers, json.loads(self._answers.with_suffix(".latency.json").read_text()))


def _figures(scores: Scores, block: np.ndarray, groups: list[tuple[str, str, np.ndarray]]) -> dict[str, Any]:
    slices: dict[str, dict[str, Any]] = {}
    for column, value, rows in groups:
        part = metrics.intervals(scores.take(rows), _renumber(block[rows]))
        slices.setdefault(column, {})[value] = {"rows": len(rows), "metrics": part}
    return {"metrics": metrics.intervals(scores, block), "slices": slices}


def _slices(holdout: pa.Table, spec: Spec) -> Any:
    """(column, value, rows) of the largest groups of each column in `gate.slices`."""
    for column in spec.slices:
        code, names = codes(holdout[column])
        counts = np.bincount(code[code >= 0], minlength=len(names))
        for index in np.argsort(-counts, kind="stable")[:MAX_SLICES]:
            if counts[index] >= MIN_SLICE_ROWS:
                yield column, names[index], np.flatnonzero(code == index)


def _renumber(block: np.ndarray) -> np.ndarray:
    return np.unique(block, return_inverse=True)[1]


def _shown(figure: dict[str, float | None]) -> str:
    if figure["value"] is None:
        return "undefined"
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"
