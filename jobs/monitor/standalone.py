"""The verbs of `python -m jobs.monitor`: arguments to files."""

from __future__ import annotations

from argparse import Namespace
from datetime import datetime

from jobs import spec as model_spec
from jobs.contract import JobError, format_time
from jobs.monitor import analyze, baseline, datafiles, explained, outcomes, performance, settings, shard
from jobs.monitor.analyze import Given
from jobs.monitor.baseline import Baseline
from jobs.monitor.bodies import ANSWERED, PREDICTION, PROBABILITY
from jobs.monitor.scan import Scan, joined, scan
from jobs.monitor.schema import Schema
from jobs.monitor.shard import Shard
from jobs.monitor.state import FILE as STATE
from jobs.monitor.state import State
from jobs.monitor.window import Window
from jobs.spec import BINARY, Feature, Spec


def learn(chosen: Namespace) -> str:
    """`baseline`: what it was made of, in a sentence."""
    train = scan(chosen.train)
    spec = settings.plain(model_spec.load(chosen.model)) if chosen.model else _described(chosen, train)
    train = scan(chosen.train, Schema.of(spec))
    holdout, more = None, {}
    if chosen.holdout:
        if not spec.task or not spec.target:
            raise JobError("a holdout is judged by its labels: give --task and --target, or --model")
        batches = list(scan(chosen.holdout, Schema.of(spec), whole=True))
        if not batches:
            raise JobError("the holdout has no rows: there is nothing to compare predictions with")
        table = joined(batches)
        answers = datafiles.window(table, Schema.of(spec)).answers
        holdout = _answered(spec, baseline.held_out(spec, table, answers))
        more = performance.reference(spec, holdout)
    if chosen.artifact and not (chosen.model and holdout):
        raise JobError("--artifact asks the model about the holdout: give --model and --holdout too")
    made = baseline.write(chosen.output, spec, train, holdout, **more).train
    if chosen.artifact:
        explained.learn(spec, chosen.artifact, chosen.model, holdout).save(chosen.output)
    left = f"; not counted: {', '.join(made.extra)}" if made.extra else ""
    return f"{made.rows:,} rows of {len(made.columns)} columns{left}"


def count(chosen: Namespace) -> tuple[Shard, Baseline, Spec]:
    """`profile`, and the first half of `analyze`."""
    reference = Baseline.load(chosen.baseline)
    spec = settings.plain(model_spec.load(chosen.model)) if chosen.model else reference.spec
    if getattr(chosen, "shards", None):
        return shard.merge(shard.load_all(chosen.shards)), reference, spec
    schema = Schema.of(spec)
    known = (schema, reference.edges, reference.layouts, reference.watch)
    window = _window(chosen)
    if chosen.data:
        return shard.count_files(scan(chosen.data, schema, whole=True), *known, window), reference, spec
    if window is None:
        raise JobError("captured requests need --start and --end: rows are chosen by their time")
    return shard.count(chosen.capture, chosen.labels, *known, window), reference, spec


def judge(chosen: Namespace) -> str:
    """`analyze`: the verdict in a sentence."""
    counted, reference, spec = count(chosen)
    if chosen.state and not (chosen.state / STATE).is_file():
        raise JobError(f"{chosen.state} has no {STATE}: give the folder `state` of the window before")
    state = State.load(chosen.state, reference.digest)
    given = Given(chosen.labels, chosen.model, chosen.artifact, chosen.pipeline)
    found = analyze.analyze(spec, reference, counted, state, given)
    analyze.write(chosen.output, found, chosen.baseline)
    return f"{found.sentence}\n{found.content['verdict']}"


def _window(chosen: Namespace) -> tuple[datetime, datetime] | None:
    if chosen.start is None and chosen.end is None:
        return None
    if chosen.start is None or chosen.end is None:
        raise JobError("--start and --end belong together: a window has both")
    if chosen.start >= chosen.end:
        raise JobError(f"--start {format_time(chosen.start)} is not before --end {format_time(chosen.end)}")
    return chosen.start, chosen.end


def _answered(spec: Spec, holdout: Window) -> Window:
    """A holdout to hold windows to. Raises JobError where it has no answers, or labels that are none."""
    if holdout.answers[PREDICTION].null_count == len(holdout) and holdout.probability is None:
        raise JobError(f"the holdout has no answers of the model: give it the column `{PREDICTION}`")
    is_scored = outcomes.usable(holdout.answers, holdout.label, spec.task)
    labelled = holdout.labelled + holdout.problems.unusable_labels
    strange = labelled - int(is_scored.sum())
    if strange > performance.STRANGE * labelled:
        wanted = f"`{spec.target}` or the answer is not what the task has"
        if spec.task == BINARY:
            wanted = f"`{spec.target}` must be 0 or 1, and `{PROBABILITY}` between them"
        raise JobError(f"{strange:,} of {labelled:,} labelled rows of the holdout cannot be scored: {wanted}")
    return holdout


def _described(chosen: Namespace, train: Scan) -> Spec:
    """A model as its data and the arguments describe it."""
    found = Schema.infer(train.arrow_schema, id=chosen.id, time=chosen.time)
    schema = found.without((*ANSWERED, *chosen.protected, chosen.target))
    return Spec("model", chosen.task, chosen.target, chosen.id, chosen.time, _features(schema), entry="",
                protected=tuple(chosen.protected))  # fmt: skip


def _features(schema: Schema) -> dict[str, Feature]:
    return {
        name: Feature(name, field.type, field.minimum, field.maximum, field.values, field.nullable)
        for name, field in schema.fields.items()
    }
