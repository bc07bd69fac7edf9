"""analyze: is this window of requests and predictions what the model was trained for, and is it still right?

Inputs: `capture` (data capture files) or `shards` (what `profile` wrote, from every instance), `baseline`,
`code`; each of these may be absent: `labels` (ground truth files), `state` (the `state` folder of the window
before), `model` (model.tar.gz, for attributions), `pipeline` (data files with the features that the pipeline
computed for the same ids, for training-serving skew). Environment: WINDOW_START and WINDOW_END, UTC; requests
made in [start, end) count. Outputs in `report/`: analysis.json, report.html, profile.npz, `state/` for the
next window, and Model Monitor's statistics.json, constraints.json and constraint_violations.json.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from jobs import contract
from jobs import spec as model_spec
from jobs.monitor import analyze, explained, settings, shard
from jobs.monitor.baseline import Baseline
from jobs.monitor.schema import Schema
from jobs.monitor.shard import Shard
from jobs.monitor.state import State
from jobs.spec import Spec


def main() -> None:
    code, folder = contract.input_dir("code"), contract.input_dir("baseline")
    spec = settings.plain(model_spec.load(code))
    baseline, labels = Baseline.load(folder), contract.optional_input_dir("labels")
    counted = _counted(spec, baseline, labels)
    state = State.load(contract.optional_input_dir("state"), baseline.digest)
    artifact = contract.optional_input_dir("model")
    with TemporaryDirectory() as extracted:
        model = explained.extract(artifact, Path(extracted)) if artifact else None
        given = analyze.Given(labels, code, model, contract.optional_input_dir("pipeline"))
        found = analyze.analyze(spec, baseline, counted, state, given)
    analyze.write(contract.output_dir("report"), found, folder)
    contract.write_message(found.sentence)
    print(found.sentence)


def _counted(spec: Spec, baseline: Baseline, labels: Path | None) -> Shard:
    window = contract.window()
    shards = contract.optional_input_dir("shards")
    if shards is None:
        return shard.count(
            contract.input_dir("capture"),
            labels,
            Schema.of(spec),
            baseline.edges,
            baseline.layouts,
            baseline.watch,
            window,
        )
    merged = shard.merge(shard.load_all(shards))
    wanted = tuple(contract.format_time(moment) for moment in window)
    if merged.window != wanted:
        raise contract.JobError(f"the shards are of {merged.window}, the window is {wanted}")
    return merged
