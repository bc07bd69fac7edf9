"""What is kept of a window's rows: a profile, tallies of its groups, a sample. Shards are counted apart and
merge in any order and grouping; their size depends on columns, days and groups, not on rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pyarrow as pa

from jobs.contract import JobError, format_time
from jobs.monitor import bias, datafiles, tally
from jobs.monitor.bodies import ANSWERED, PREDICTION
from jobs.monitor.capture import SHOWN_PROBLEMS, files_of
from jobs.monitor.labels import read_labels
from jobs.monitor.profile import Edges, Profile, profile
from jobs.monitor.sample import Sample
from jobs.monitor.scan import Scan
from jobs.monitor.schema import Field, Schema
from jobs.monitor.tally import Layout, Tally
from jobs.monitor.window import Problems, Window, batches
from jobs.spec import MULTICLASS

FILES = ("profile.npz", "sample.parquet", "tallies.npz", "shard.json")
COUNTED = ("repeated_events", "repeated_labels", "contradicted_labels", "unusable_labels")
BEGINNING = 1 << 16  # bytes of a file that tell it from another of its name and size


@dataclass
class Shard:
    """`counted` are totals of what was wrong with lines and labels, `problems` its first places and reasons,
    `unlike` facets that could not be tallied and why, `files` names of what was counted, by their marks."""

    window: tuple[str, str]
    profile: Profile
    sample: Sample
    tallies: list[Tally]
    skipped: int = 0
    problems: list[str] = field(default_factory=list)
    counted: dict[str, int] = field(default_factory=dict)
    labels: int = 0  # read, for this window or another
    labels_met: int = 0
    mistyped_answers: dict[str, int] = field(default_factory=dict)
    unlike: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)

    def merge(self, other: Shard) -> Shard:
        """Raises JobError for shards of another window or another baseline, and where both counted a file."""
        if self.window != other.window:
            ours, theirs = " to ".join(self.window), " to ".join(other.window)
            raise JobError(f"not the same window (its start and end): {ours} and {theirs} do not merge")
        if both := sorted(self.files[file] for file in self.files.keys() & other.files.keys()):
            more = f" and {len(both) - 1} more" if len(both) > 1 else ""
            fix = "give each shard once, and none beside what it was merged into"
            raise JobError(f"{both[0]}{more} would count twice, as two of the shards hold it: {fix}")
        ours = {one.layout: one for one in self.tallies}
        theirs = {one.layout: one for one in other.tallies}
        return Shard(
            self.window,
            self.profile.merge(other.profile),
            self.sample.merge(other.sample),
            [
                ours[layout].merge(theirs[layout]) if layout in ours and layout in theirs else one
                for layout, one in (ours | theirs).items()
            ],
            self.skipped + other.skipped,
            sorted([*self.problems, *other.problems])[:SHOWN_PROBLEMS],
            _added(self.counted, other.counted),
            max(self.labels, other.labels),  # every shard reads all labels
            self.labels_met + other.labels_met,
            _added(self.mistyped_answers, other.mistyped_answers),
            [*self.unlike, *(one for one in other.unlike if one not in self.unlike)],
            self.files | other.files,
        )

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.profile.save(folder / "profile.npz")
        self.sample.save(folder / "sample.parquet")
        tally.save(self.tallies, folder / "tallies.npz")
        kept = {name: getattr(self, name) for name in _SMALL}
        (folder / "shard.json").write_text(json.dumps(kept, allow_nan=False) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Shard:
        """Raises JobError for a folder that `save` did not write."""
        try:
            kept = json.loads((folder / "shard.json").read_text())
            small = {name: kept[name] for name in _SMALL} | {"window": tuple(kept["window"])}
        except (OSError, ValueError, KeyError) as error:
            raise JobError(f"{folder.name} is not a shard of a window: {error}") from error
        return cls(
            profile=Profile.load(folder / "profile.npz"),
            sample=Sample.load(folder / "sample.parquet"),
            tallies=tally.load(folder / "tallies.npz"),
            **small,
        )


_SMALL = (
    "window",
    "skipped",
    "problems",
    "counted",
    "labels",
    "labels_met",
    "mistyped_answers",
    "unlike",
    "files",
)


def watched(schema: Schema) -> str:
    """What the prediction is called among the columns: `prediction`, unless a feature is."""
    return PREDICTION if PREDICTION not in schema.fields else f"{PREDICTION} of the model"


def counted(schema: Schema, watch: str) -> Schema:
    """The features and the prediction, where one is watched."""
    if not watch:
        return schema
    kind = "string" if schema.task == MULTICLASS else "number"
    return schema.with_fields(Field(watched(schema), kind, nullable=False))


def count(
    capture: Path,
    labels: Path | None,
    schema: Schema,
    edges: Edges | None,
    planned: Iterable[Layout],
    watch: str,
    window: tuple[datetime, datetime],
) -> Shard:
    """Capture files, in one pass and bounded memory. `edges`, `planned` and `watch` (the column of an answer
    that is profiled) are the baseline's."""
    problems = Problems()
    known = read_labels(labels, schema.task, problems.skipped)
    pieces = batches(capture, known, schema, *window, problems)
    made = _count(pieces, schema, edges, planned, watch, window)
    _correct(made.profile, problems)
    made.skipped, made.problems = problems.skipped.lines, problems.skipped.problems
    made.counted = {name: getattr(problems, name) for name in COUNTED}
    made.labels, made.labels_met = len(known), len(known) - known.unknown
    made.mistyped_answers = problems.mistyped_answers
    made.files = {_mark(path, name): name for name, path in files_of(capture).items()}
    return made


def count_files(
    scan: Scan,
    schema: Schema,
    edges: Edges | None,
    planned: Iterable[Layout],
    watch: str,
    window: tuple[datetime, datetime] | None = None,
) -> Shard:
    """Data files whose rows have the model's answers and the labels in columns of their own. The rows of the
    window count, and those without a time; all where none is given, and the window is the data's own span."""
    problems = Problems()
    pieces = datafiles.pieces(scan, schema, problems, window)
    made = _count(pieces, schema, edges, planned, watch, window)
    known = {*made.profile.columns, *schema.protected, schema.id, schema.time, schema.target, *ANSWERED}
    made.profile.extra = {name: made.profile.rows for name in scan.arrow_schema.names if name not in known}
    made.counted = {name: getattr(problems, name) for name in COUNTED}
    made.skipped = sum(scan.skipped.values())
    made.problems = [f"{path}: {rows} broken rows" for path, rows in scan.skipped.items()]
    made.files = {_mark(path, str(path.resolve())): path.name for path in scan.files}
    return made


def _mark(path: Path, name: str) -> str:
    """Of a file: its name in the window (the path of a data file), its size and its beginning, as one
    digest."""
    with path.open("rb") as file:
        beginning = file.read(BEGINNING)
    return blake2b(f"{name}:{path.stat().st_size}:".encode() + beginning, digest_size=16).hexdigest()


def _count(
    pieces: Iterable[Window],
    schema: Schema,
    edges: Edges | None,
    planned: Iterable[Layout],
    watch: str,
    window: tuple[datetime, datetime] | None,
) -> Shard:
    counting = _Counting(pieces, list(planned), watch)
    whole = counted(schema, watch)
    bins = None if edges is None else _fitting(edges, whole)
    made = profile(counting, whole, block=None) if bins is None else profile(counting, whole, bins)
    sample = counting.sample if counting.sample is not None else Sample.of(datafiles.empty(schema))
    start, end = (format_time(moment) for moment in window or _span(made))
    return Shard((start, end), made, sample, counting.tallies, unlike=counting.unlike)


def _fitting(edges: Edges, schema: Schema) -> Edges:
    """Without those of columns that were of another type at the baseline."""
    texts = {name for name, field in schema.fields.items() if field.is_categorical}
    return Edges(
        {name: bins for name, bins in edges.numbers.items() if name not in texts},
        {name: names for name, names in edges.categories.items() if name in texts},
    )


def _span(made: Profile) -> tuple[datetime, datetime]:
    """From the first row's time to right after the last one's; a moment of 1970 where rows have no time."""
    first, last = made.span or (0, 0)
    return tuple(datetime.fromtimestamp(0, UTC) + timedelta(microseconds=at) for at in (first, last + 1))


def merge(shards: Iterable[Shard]) -> Shard:
    """Raises JobError where there are none."""
    merged = None
    for shard in shards:
        merged = shard if merged is None else merged.merge(shard)
    if merged is None:
        raise JobError("there are no shards to merge")
    return merged


def load_all(folder: Path) -> Iterator[Shard]:
    """Every shard below a folder, in order of their names. Raises JobError where there is none."""
    found = sorted(folder.rglob("shard.json"))
    if not found:
        raise JobError(f"{folder} holds no shard: give what `profile` or `merge` wrote")
    yield from (Shard.load(path.parent) for path in found)


class _Counting:
    """Pieces of a window as the batches that a profile reads, tallied and sampled on the way."""

    def __init__(self, pieces: Iterable[Window], planned: list[Layout], watch: str) -> None:
        self._pieces, self._planned, self._watch = pieces, planned, watch
        self.sample: Sample | None = None
        self.tallies: list[Tally] = []
        self.unlike: list[dict[str, Any]] = []

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for piece in self._pieces:
            drawn = Sample.of(piece)
            self.sample = drawn if self.sample is None else self.sample.merge(drawn)
            if len(piece):
                self._tally(piece)
                yield from as_batches(piece, self._watch)

    def _tally(self, piece: Window) -> None:
        columns = {name: piece.table[name] for name in piece.table.column_names}
        unlike: list[dict[str, Any]] = []
        found = bias.tallies(self._planned, columns, piece.label, piece.prediction, piece.times, unlike)
        before = {one.layout: one for one in self.tallies}
        self.tallies = [before[one.layout].merge(one) if one.layout in before else one for one in found]
        self.unlike += [one for one in unlike if one not in self.unlike]


def as_batches(piece: Window, watch: str) -> Iterator[pa.RecordBatch]:
    """Features, time and, where one is watched, the prediction of a window's rows."""
    schema = piece.schema
    table = piece.table.select([name for name in schema.fields if name in piece.table.column_names])
    if watch:
        table = table.append_column(watched(schema), piece.answers[watch])
    if schema.time and schema.time not in table.column_names:
        times = pa.array(piece.times, mask=piece.times == 0)  # of data files: 0 where a row has none
        table = table.append_column(schema.time, times.cast(pa.timestamp("us", "UTC")))
    yield from table.combine_chunks().to_batches()


def _correct(made: Profile, problems: Problems) -> None:
    """What only the reader saw: values of another type were null for the profile, and so were columns that no
    request carried."""
    for name, number in problems.mistyped.items():
        column = made.columns.get(name)
        if column is not None:
            number = min(number, column.missing)
            column.missing -= number
            column.mistyped += number
    for name in problems.absent:
        made.columns[name].absent = made.columns[name].rows
    made.extra = dict(problems.extra)


def _added(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in sorted(one.keys() | other.keys())}
