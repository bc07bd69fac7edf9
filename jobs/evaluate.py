"""evaluate: champion and challenger score the same held-out rows, each through its own inference script.

Inputs: `holdout`, `train` (Parquet), `challenger` (model.tar.gz), `code`; where there is a champion,
`champion` and `champion_code`. Outputs: `evaluation/` (evaluation.json, explanation.json), `baseline/` for
the monitor.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs import contract, explanation
from jobs import spec as model_spec
from jobs.columns import codes, microseconds
from jobs.monitor import baseline, datafiles, explained, outcomes, performance, quality, settings
from jobs.monitor.quality import Scores
from jobs.monitor.window import Window
from jobs.spec import Spec

MAX_SLICES = 20
MIN_SLICE_ROWS = 50


@dataclass(frozen=True)
class Scored:
    answers: list[dict[str, Any]]
    latency: dict[str, Any]


def main() -> None:
    code = contract.input_dir("code")
    spec = settings.plain(model_spec.load(code))
    rows = contract.input_dir("holdout") / "holdout.parquet"
    holdout = pq.ParquetFile(rows).read()
    train = pq.ParquetFile(contract.input_dir("train") / "train.parquet").read()
    challenger, champion = score_both(rows, spec, code)
    evaluation = compare(spec, holdout, challenger, champion)
    contract.write_json(contract.output_dir("evaluation") / "evaluation.json", evaluation)
    explained_by = write_baseline(spec, code, train, answered(spec, holdout, challenger))
    contract.write_json(contract.output_dir("evaluation") / "explanation.json", explained_by)
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


def write_baseline(spec: Spec, code: Path, train: pa.Table, holdout: Window) -> dict[str, Any]:
    """What the monitor compares windows with. Returns what the model looks at, the content of
    explanation.json."""
    folder = contract.output_dir("baseline")
    baseline.write(folder, spec, train, holdout, **performance.reference(spec, holdout))
    with tempfile.TemporaryDirectory() as extracted:
        model = explained.extract(contract.input_dir("challenger"), Path(extracted))
        return explanation.learn(spec, model, code, holdout, folder)


def compare(spec: Spec, holdout: pa.Table, challenger: Scored, champion: Scored | None) -> dict[str, Any]:
    """The content of evaluation.json."""
    times = microseconds(holdout[spec.time])
    block = quality.blocks(times)
    groups = list(_slices(holdout, spec))
    ours = _scores(spec, answered(spec, holdout, challenger), "challenger")
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
        theirs = _scores(spec, answered(spec, holdout, champion), "champion")
        evaluation["champion"] = _figures(theirs, block, groups)
        evaluation["difference"] = quality.difference(ours, theirs, block)
        evaluation["latency"]["champion"] = champion.latency
    return evaluation


def sentence(spec: Spec, evaluation: dict[str, Any]) -> str:
    primary = evaluation["primary"] or quality.names(spec.task)[0]
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
        explained.extract(artifact, model)
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


def answered(spec: Spec, holdout: pa.Table, scored: Scored) -> Window:
    """The holdout with a model's answers."""
    return baseline.held_out(spec, holdout, datafiles.answers_of(spec.task, scored.answers))


def _scores(spec: Spec, window: Window, name: str) -> Scores:
    """Raises JobError where an answer cannot be compared: both models are judged by all rows."""
    unusable = int(np.count_nonzero(~outcomes.usable(window.answers, window.label, spec.task)))
    if unusable:
        raise contract.JobError(f"{unusable:,} answers of the {name} cannot be compared with their labels")
    return outcomes.scores(window.answers, window.label, spec.task)


def _figures(scores: Scores, block: np.ndarray, groups: list[tuple[str, str, np.ndarray]]) -> dict[str, Any]:
    slices: dict[str, dict[str, Any]] = {}
    for column, value, rows in groups:
        part = quality.intervals(scores.take(rows), _renumber(block[rows]))
        slices.setdefault(column, {})[value] = {"rows": len(rows), "metrics": part}
    return {"metrics": quality.intervals(scores, block), "slices": slices}


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
