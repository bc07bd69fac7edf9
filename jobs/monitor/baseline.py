"""What windows are compared with, made where the model is evaluated: features from the training data;
predictions, quality, bias and attribution from the holdout, which the model has not seen."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa

from jobs import contract
from jobs.contract import JobError
from jobs.monitor import bias, datafiles, explained, formats, shard, tally
from jobs.monitor.blocks import Edges
from jobs.monitor.bodies import PREDICTION, PROBABILITY
from jobs.monitor.columns import Column, NumberColumn
from jobs.monitor.outliers import Outliers
from jobs.monitor.profile import Profile, profile
from jobs.monitor.scan import Scan, joined
from jobs.monitor.schema import Schema
from jobs.monitor.series import fenced
from jobs.monitor.tally import Layout, Tally
from jobs.monitor.window import Window
from jobs.spec import MULTICLASS, Feature, Spec

FORMAT = 4
THRESHOLD = 0.1  # Model Monitor's default comparison_threshold
DAY = 86_400_000_000  # microseconds
Rows = pa.Table | Scan


@dataclass
class Baseline:
    """`content` is baseline.json; `train` the profile of the training data's features, `holdout` that of the
    holdout's features and predictions, both by day; `tallies` the holdout's groups. Without a holdout only
    features are watched."""

    content: dict[str, Any]
    train: Profile
    holdout: Profile | None = None
    tallies: list[Tally] = field(default_factory=list)
    explained: explained.Reference | None = None
    outliers: Outliers | None = None

    @cached_property
    def digest(self) -> str:
        """Tells one baseline from another."""
        return sha256(json.dumps(self.content, sort_keys=True).encode()).hexdigest()[:12]

    @cached_property
    def spec(self) -> Spec:
        """The model, for who has no model.yaml at hand."""
        schema = self.schema
        features = {
            name: Feature(name, entry.type, entry.minimum, entry.maximum, entry.values, entry.nullable)
            for name, entry in schema.fields.items()
        }
        return Spec(
            self.content["model"],
            schema.task,
            schema.target,
            schema.id,
            schema.time,
            features,
            entry="",
            protected=schema.protected,
            monitor=self.content["monitor"],
        )

    @cached_property
    def schema(self) -> Schema:
        return Schema.from_dict(self.content["schema"])

    @property
    def watch(self) -> str:
        """The column of an answer that is profiled: its probability where there is one. May be empty."""
        return self.content["watch"]

    @property
    def edges(self) -> Edges | None:
        """Bins on which a window is counted: the training data's, and the holdout's for predictions."""
        if self.train.blocks is None:
            return None
        if self.holdout is None or self.holdout.blocks is None:
            return self.train.blocks.edges
        name = shard.watched(self.train.schema)
        theirs, ours = self.holdout.blocks.edges, self.train.blocks.edges
        numbers = {name: theirs.numbers[name]} if name in theirs.numbers else {}
        names = {name: theirs.categories[name]} if name in theirs.categories else {}
        return Edges(ours.numbers | numbers, ours.categories | names)

    @property
    def layouts(self) -> list[Layout]:
        return [one.layout for one in self.tallies]

    @property
    def columns(self) -> dict[str, Column]:
        """By name: what a window's columns are pictured against."""
        held = self.holdout.columns if self.holdout else {}
        return held | self.train.columns

    @classmethod
    def load(cls, folder: Path) -> Baseline:
        """Raises JobError where a file is missing or was not written by `write`."""
        try:
            content = json.loads((folder / "baseline.json").read_text())
        except FileNotFoundError:
            raise JobError(
                "the baseline has no baseline.json: it is written where the model is evaluated"
            ) from None
        except ValueError as error:
            raise JobError(f"the baseline's baseline.json is not JSON: {error}") from None
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise JobError("the baseline is of another version of the monitor: evaluate the model again")
        train = Profile.load(folder / "train.npz")
        rare = Outliers.load(folder / "outliers.npz")
        if not content["watch"]:
            return cls(content, train, outliers=rare)
        return cls(
            content,
            train,
            Profile.load(folder / "holdout.npz"),
            tally.load(folder / "tallies.npz"),
            explained.Reference.load(folder),
            rare,
        )


def write(folder: Path, spec: Spec, train: Rows, holdout: Window | None, **more: Any) -> Baseline:
    """Writes the folder that `Baseline.load` reads, and Model Monitor's statistics.json and constraints.json.

    `more` goes into baseline.json: `quality` (metrics with intervals), `attribution`, and the like.
    """
    folder.mkdir(parents=True, exist_ok=True)
    schema = Schema.of(spec)
    seen = by_day(train, schema)
    if not seen.rows:
        raise JobError("the training data has no rows: there is nothing to compare windows with")
    if schema.time and seen.span is None:
        wanted = "ISO 8601 text or timestamps are needed, as windows are compared by day"
        raise JobError(f"no row of the training data has a time in the column `{schema.time}`: {wanted}")
    content: dict[str, Any] = {
        "format": FORMAT,
        "model": spec.name,
        "task": spec.task,
        "watch": "",
        "rows": {"train": seen.rows, "holdout": 0, "labelled": 0},
        "train": _span(seen),
        "schema": schema.as_dict(),
        "monitor": spec.monitor,
        "inferred": {name: inferred(column) for name, column in seen.columns.items()},
    }
    made = Baseline(content | more, seen)
    if holdout is not None:
        made = _with_holdout(made, spec, holdout)
        made.holdout.save(folder / "holdout.npz")
        tally.save(made.tallies, folder / "tallies.npz")
    seen.save(folder / "train.npz")
    Outliers.learn(_some(train), seen).save(folder / "outliers.npz")
    threshold = float((spec.monitor.get("data") or {}).get("drift", THRESHOLD))
    formats.write(folder / "statistics.json", formats.statistics(seen))
    contract.write_json(folder / "constraints.json", formats.constraints(seen, threshold))
    contract.write_json(folder / "baseline.json", made.content)
    return made


def _with_holdout(made: Baseline, spec: Spec, holdout: Window) -> Baseline:
    if not len(holdout):
        raise JobError("the holdout has no rows: there is nothing to compare predictions with")
    watch = watched_answer(holdout)
    batches = pa.Table.from_batches(shard.as_batches(holdout, watch))
    held = by_day(batches, shard.counted(holdout.schema, watch))
    unlike: list[dict[str, Any]] = []
    columns = {name: holdout.table[name] for name in holdout.table.column_names}
    planned = bias.layouts(bias.Settings.of(spec), columns, holdout.label, unlike)
    tallies = bias.tallies(planned, columns, holdout.label, holdout.prediction, holdout.times, unlike)
    content = made.content | {
        "watch": watch,
        "rows": made.content["rows"] | {"holdout": len(holdout), "labelled": holdout.labelled},
        "holdout": _span(held),
        "bias": {"figures": bias.reference(tallies), "skipped": unlike},
    }
    return Baseline(content, made.train, held, tallies)


def by_day(rows: Rows, schema: Schema) -> Profile:
    """A profile with a histogram per day, on bins that know where outliers begin."""
    if isinstance(rows, pa.Table) and not rows.num_rows:
        return profile(rows, schema, block=None)
    once = profile(rows, schema, block=None)
    made = profile(rows, schema, fenced(Edges.of(once), once))
    for name, column in made.columns.items():
        if isinstance(column, NumberColumn):  # the fences are those of the first pass's quantiles
            column.quantiles = once.columns[name].quantiles
    return made


def held_out(spec: Spec, table: pa.Table, answers: pa.Table) -> Window:
    """The holdout as a window. Raises JobError for a column of model.yaml that it does not have."""
    schema = Schema.of(spec)
    for name in (*schema.fields, *schema.protected, spec.id, spec.time, spec.target):
        if name and name not in table.column_names:
            raise JobError(f"the holdout has no column `{name}`")
    return datafiles.window(table, schema, answers)


def _some(rows: Rows) -> pa.Table:
    """A table, or rows from all over data files."""
    return rows if isinstance(rows, pa.Table) else joined(rows.sample())


def watched_answer(window: Window) -> str:
    is_number = window.schema.task != MULTICLASS and window.probability is not None
    return PROBABILITY if is_number else PREDICTION


def inferred(column: Column) -> dict[str, Any]:
    """A column as the data shows it, beside what model.yaml says: range or categories, completeness (share of
    the rows with a value) and uniqueness (distinct values per value)."""
    found: dict[str, Any] = {
        "type": column.field.type,
        "completeness": round(column.n / column.rows, 6) if column.rows else 0.0,
        "uniqueness": round(min(1.0, column.distinct.estimate() / column.n), 6) if column.n else 0.0,
        "distinct": round(column.distinct.estimate()),
    }
    if isinstance(column, NumberColumn):
        return found | ({"min": column.min, "max": column.max} if column.n else {})
    return found | {"categories": list(column.counts.as_dict(formats.LISTED))}


def _span(made: Profile) -> dict[str, str] | None:
    return contract.span(made.span) if made.span else None


__all__ = ["Baseline", "by_day", "held_out", "inferred", "watched_answer", "write"]
