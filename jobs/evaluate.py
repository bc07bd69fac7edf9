"""evaluate: champion and challenger answer the same held-out rows, each behind its own serving container.

Inputs: `holdout`, `train` (Parquet), `challenger` (model.tar.gz), `code`; where there is a champion,
`champion` and `champion_code`, and CHAMPION_TRAINED_UNTIL in the environment. Outputs:
`evaluation/evaluation.json` (the figures that the gate judges; docs/judging.md has its keys) with
explanation.json, bias.json and card.html made of it, and smoke.jsonl for staging; `baseline/` for the
monitor.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs import card, clarify, contract, explanation, smoke
from jobs import spec as model_spec
from jobs.evaluation import answered, compare
from jobs.hosted import Hosted, Scored, free_ports
from jobs.monitor import baseline, explained, performance, settings
from jobs.monitor.window import Window
from jobs.spec import Spec


def main() -> None:
    code = contract.input_dir("code")
    spec = settings.plain(model_spec.load(code))
    holdout = pq.ParquetFile(contract.input_dir("holdout") / "holdout.parquet").read()
    train = pq.ParquetFile(contract.input_dir("train") / "train.parquet").read()
    rows = holdout.drop_columns(spec.target)  # no request has it
    challenger, champion = score_both(rows, code)
    evaluation = compare(spec, train, holdout, challenger, champion)
    contract.write_json(contract.output_dir("evaluation") / "evaluation.json", evaluation)
    smoke.write(contract.output_dir("evaluation"), rows, challenger.answers)
    explained_by = write_baseline(spec, code, train, answered(spec, holdout, challenger))
    write_evidence(spec, evaluation, explained_by)
    message = sentence(evaluation)
    contract.write_message(message)
    print(message)


def score_both(rows: pa.Table, code: Path) -> tuple[Scored, Scored | None]:
    """Both models at once; then the latency of one after the other, so that neither waits for the other.
    Raises JobError with what a script raised."""
    codes = {"challenger": code, "champion": contract.optional_input_dir("champion_code")}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running, ThreadPoolExecutor(2) as pool:
        models = [
            running.enter_context(
                Hosted(Path(folder) / name, contract.input_dir(name), scripts, entry(scripts), port)
            )
            for (name, scripts), port in zip(codes.items(), free_ports(2), strict=True)
            if scripts
        ]
        scored = list(pool.map(lambda model: model.score(rows), models))
        measured = [
            Scored(each.answers, each.serving | model.latency(rows))
            for each, model in zip(scored, models, strict=True)
        ]
    return measured[0], measured[1] if codes["champion"] else None


def entry(scripts: Path) -> str:
    """Each model's folder says which of its scripts serves it."""
    return model_spec.load(scripts).entry


def write_baseline(spec: Spec, code: Path, train: pa.Table, holdout: Window) -> dict[str, Any]:
    """What the monitor compares windows with. Returns what the model looks at, the content of
    explanation.json."""
    folder = contract.output_dir("baseline")
    baseline.write(folder, spec, train, holdout, **performance.reference(spec, holdout))
    with tempfile.TemporaryDirectory() as extracted:
        model = explained.extract(contract.input_dir("challenger"), Path(extracted))
        return explanation.learn(spec, model, code, holdout, folder)


def write_evidence(spec: Spec, evaluation: dict[str, Any], explained_by: dict[str, Any]) -> None:
    """What the package links to, and the page that the model card is made of."""
    folder = contract.output_dir("evaluation")
    contract.write_json(folder / "explanation.json", explained_by)
    contract.write_json(folder / "bias.json", clarify.bias(spec, evaluation["challenger"]["bias"]))
    (folder / "card.html").write_text(card.render(spec.name, evaluation, explained_by), encoding="utf-8")


def sentence(evaluation: dict[str, Any]) -> str:
    primary = evaluation["primary"]
    figure = _shown(evaluation["challenger"]["metrics"][primary])
    text = f"{primary} {figure} on {evaluation['rows']:,} held-out rows"
    if evaluation["champion"]:
        return f"{text}, the champion {_shown(evaluation['champion']['metrics'][primary])}"
    return f"{text}, the best constant prediction {_shown(evaluation['constant']['metrics'][primary])}"


def _shown(figure: dict[str, float | None]) -> str:
    if figure["value"] is None:
        return "undefined"
    if figure["low"] is None or figure["high"] is None:
        return f"{figure['value']:.3f}"
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"
