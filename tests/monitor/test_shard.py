"""Shards of a window: counted apart, merged in any order and grouping, the same as counted at once."""

from __future__ import annotations

import shutil
from functools import reduce
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.contract import JobError
from jobs.monitor import baseline, shard
from jobs.monitor.baseline import Baseline
from jobs.monitor.sample import HASH, ID, LABEL, Sample
from jobs.monitor.schema import Schema
from jobs.monitor.shard import Shard
from tests.monitor import demo
from tests.monitor.demo import END, SPEC, START

SCHEMA = Schema.of(SPEC)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Baseline:
    folder = tmp_path_factory.mktemp("baseline")
    baseline.write(folder, SPEC, demo.train(), demo.holdout())
    return Baseline.load(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four files of 500 rows, half of them with a label."""
    path = tmp_path_factory.mktemp("window")
    rows = demo.rows(2000, START, 7, seed=5)
    answers = demo.answers(rows)
    truth = demo.labels(rows, answers)
    demo.write(path, rows, answers, {row["id"]: truth[row["id"]] for row in rows[::2]})
    return path


@pytest.fixture(scope="module")
def shards(folder: Path, reference: Baseline, tmp_path_factory: pytest.TempPathFactory) -> list[Shard]:
    """One per capture file, as several instances count them."""
    made = []
    for file in sorted((folder / "capture").iterdir()):
        alone = tmp_path_factory.mktemp("shard")
        shutil.copytree(file, alone / file.name)
        made.append(count(alone, folder / "labels", reference))
    return made


def count(capture: Path, labels: Path, reference: Baseline) -> Shard:
    return shard.count(
        capture, labels, SCHEMA, reference.edges, reference.layouts, reference.watch, (START, END)
    )


def same(one: Shard, other: Shard) -> None:
    assert one.profile.rows == other.profile.rows
    for name, column in one.profile.columns.items():
        theirs = other.profile.columns[name]
        assert (column.n, column.missing, column.mistyped) == (theirs.n, theirs.missing, theirs.mistyped)
    ours, theirs = one.profile.blocks, other.profile.blocks
    assert ours is not None and theirs is not None
    for name, counts in ours.counts.items():
        np.testing.assert_array_equal(counts, theirs.counts[name])
    assert one.sample.ordered().table.equals(other.sample.ordered().table)
    for tally in one.tallies:
        twin = next(found for found in other.tallies if found.layout == tally.layout)
        np.testing.assert_array_equal(tally.counts, twin.counts)
    assert (one.labels, one.labels_met) == (other.labels, other.labels_met)


@settings(max_examples=8, deadline=None)
@given(order=st.permutations(range(4)), split=st.integers(1, 3))
def test_any_order_and_grouping_gives_what_one_pass_gives(
    order: list[int], split: int, folder: Path, shards: list[Shard], reference: Baseline
) -> None:
    whole = count(folder / "capture", folder / "labels", reference)
    chosen = [shards[index] for index in order]
    left, right = reduce(Shard.merge, chosen[:split]), reduce(Shard.merge, chosen[split:])
    same(left.merge(right), whole)
    assert whole.labels_met == whole.sample.labelled == 1000


def test_a_shard_survives_its_files(shards: list[Shard], tmp_path: Path) -> None:
    for index, one in enumerate(shards):
        one.save(tmp_path / f"host-{index}")
    same(shard.merge(shard.load_all(tmp_path)), shard.merge(shards))


def test_what_two_shards_have_both_counted_is_seen_and_judged_once(
    folder: Path, shards: list[Shard], reference: Baseline, tmp_path: Path
) -> None:
    """A shard sees its own files: an event that was captured twice, in files of two, is a row that repeats
    another; with its label it still counts once."""
    shutil.copytree(folder / "capture" / "000000", tmp_path / "again")
    twice = shards[0].merge(count(tmp_path, folder / "labels", reference))
    before = shards[0].profile.duplicates.repeated()
    assert twice.profile.duplicates.repeated() == pytest.approx(0.5 + before / 2)
    ours, theirs = (one.sample.ordered().with_labels() for one in (twice, shards[0]))
    assert sorted(ours[ID].to_pylist()) == sorted(theirs[ID].to_pylist())


def test_a_shard_counts_once(shards: list[Shard], tmp_path: Path) -> None:
    """Neither with itself, nor beside what it was merged into, nor after its way through files."""
    said = "000000/a.jsonl would count twice, as two of the shards hold it: give each shard once"
    with pytest.raises(JobError, match=said):
        shards[0].merge(shards[0])
    shards[0].save(tmp_path / "part")
    shards[1].merge(shards[0]).save(tmp_path / "merged")
    with pytest.raises(JobError, match=said):
        shard.merge(shard.load_all(tmp_path))
    with pytest.raises(JobError, match="and 3 more would count twice"):
        shard.merge([*shards, shard.merge(shards)])


def test_shards_of_different_windows_do_not_merge(shards: list[Shard]) -> None:
    other = Shard(("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"), *list(vars(shards[0]).values())[1:])
    with pytest.raises(JobError, match="not the same window"):
        shards[0].merge(other)
    with pytest.raises(JobError, match="no shards"):
        shard.merge([])
    with pytest.raises(JobError, match="not a shard"):
        Shard.load(Path("/nowhere"))


def made(count: int, labelled: float, seed: int, kept: int) -> Sample:
    rng = np.random.default_rng(seed)
    label = np.where(rng.random(count) < labelled, 1.0, np.nan)
    columns = {
        ID: pa.array([f"{seed}-{index}" for index in range(count)]),
        "time": pa.array(np.arange(count)),
        "requested": pa.array(np.arange(count)),
        LABEL: pa.array(label, mask=np.isnan(label)),
        HASH: pa.array(rng.integers(0, 1 << 63, count).astype(np.uint64)),
    }
    return Sample(pa.table(columns), count, int((~np.isnan(label)).sum()), kept)


@settings(max_examples=20, deadline=None)
@given(seeds=st.permutations(range(5)), grouped=st.booleans())
def test_a_sample_is_the_same_however_it_was_merged(seeds: list[int], grouped: bool) -> None:
    kept = 100
    parts = [made(300, 0.1, seed, kept) for seed in seeds]
    if grouped:
        parts = [parts[0].merge(parts[1]), parts[2].merge(parts[3].merge(parts[4]))]
    sample = reduce(Sample.merge, parts).ordered()
    everything = pa.concat_tables([made(300, 0.1, seed, kept).table for seed in range(5)])
    hashes = everything[HASH].to_pylist()
    assert sample.rows == 1500
    assert sorted(sample.uniform()[HASH].to_pylist()) == sorted(hashes)[:kept]
    labelled = [value for value, label in zip(hashes, everything[LABEL].to_pylist(), strict=True) if label]
    assert sorted(sample.with_labels()[HASH].to_pylist()) == sorted(labelled)[:kept]
    assert sample.table.num_rows <= 2 * kept


def test_the_last_prediction_of_an_id_counts() -> None:
    sample = made(4, 1.0, 0, 10)
    twice = sample.table.set_column(4, HASH, pa.array([7, 7, 8, 9], pa.uint64()))
    assert Sample(twice, 4, 4, 10).with_labels()["time"].to_pylist() == [1, 2, 3]
