"""Sketches: within their stated error, and the same for shards in any order and grouping."""

from __future__ import annotations

import json
import math
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobs.monitor.hashing import finish, hash_text, multiplier, spread
from jobs.monitor.sketch import EXTREMES, Counts, Distinct, Quantiles, paired

SHAPES = ("normal", "lognormal", "integers", "ascending", "constant", "two")
seeds = st.integers(0, 2**32 - 1)


def values_of(shape: str, seed: int, size: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return {
        "normal": lambda: rng.normal(size=size),
        "lognormal": lambda: rng.lognormal(0, 3, size),
        "integers": lambda: rng.poisson(20, size).astype(float),
        "ascending": lambda: np.arange(size) / 7,
        "constant": lambda: np.full(size, 3.25),
        "two": lambda: rng.choice([-1e300, 1e300], size),
    }[shape]()


def parts_of(values: np.ndarray, cuts: list[float]) -> list[np.ndarray]:
    return np.split(values, sorted({int(cut * len(values)) for cut in cuts}))


def sketch(values: np.ndarray, batch: int = 50_000, k: int = 256) -> Quantiles:
    made = Quantiles(k)
    for first in range(0, len(values), batch):
        made.update(values[first : first + batch])
    return made


def worst_error(sketch: Quantiles, values: np.ndarray) -> float:
    """The largest |cdf(x) - share of values <= x| over all x: at the values and just under them."""
    values = np.sort(values)
    points = np.unique(values)
    true = np.searchsorted(values, points, "right") / len(values)
    found = sketch.cdf(points)
    before = np.concatenate(([0.0], found[:-1]))
    return max(np.abs(found - true).max(), np.abs(before - np.concatenate(([0.0], true[:-1]))).max())


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SHAPES), seeds, st.integers(1, 200_000), st.integers(100, 200_000))
def test_quantiles_are_within_their_stated_error(shape, seed, size, batch):
    values = values_of(shape, seed, size)
    made = sketch(values, batch)
    assert made.n == size
    assert made.items()[1][-1] == size, "the weights sum to the rows"
    assert worst_error(made, values) <= made.epsilon + 1e-12
    assert made.epsilon < 0.03, "k = 256: a sixteenth of what profiles use"
    assert made.quantile([0.0, 1.0]).tolist() == [values.min(), values.max()]


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(SHAPES), seeds, st.lists(st.floats(0, 1), max_size=5), st.randoms())
def test_few_shards_give_the_same_quantiles_in_any_order_and_grouping(shape, seed, cuts, random):
    values = values_of(shape, seed, 40_000)
    shards = [sketch(part) for part in parts_of(values, cuts)]
    straight = merged(shards)
    shuffled = shards[:]
    random.shuffle(shuffled)
    while len(shuffled) > 1:
        place = random.randrange(len(shuffled) - 1)
        shuffled[place : place + 2] = [shuffled[place].merge(shuffled[place + 1])]
    grid = np.linspace(0, 1, 101)
    assert straight.quantile(grid).tolist() == shuffled[0].quantile(grid).tolist()
    assert straight.epsilon == shuffled[0].epsilon
    assert worst_error(straight, values) <= straight.epsilon + 1e-12


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(SHAPES), seeds, st.lists(st.floats(0, 1), max_size=5), st.randoms())
def test_the_tails_are_exact_however_shards_are_merged(shape, seed, cuts, random):
    values = values_of(shape, seed, 40_000)
    shards = [sketch(part) for part in parts_of(values, cuts)]
    values.sort()
    random.shuffle(shards)
    found = merged(shards)
    kept = found.k // EXTREMES
    edges = np.concatenate((np.unique(values[:kept])[:-1], values[-kept:]))
    assert found.cdf(edges).tolist() == (np.searchsorted(values, edges, "right") / len(values)).tolist()


def test_many_shards_stay_within_their_stated_error_and_within_memory():
    rng = np.random.default_rng(3)
    values = rng.gamma(2, 3, 2_000_000)
    shards = [sketch(part, 8_000) for part in np.split(values, 200)]
    made = merged(shards)
    assert made.worst > 0
    assert worst_error(made, values) <= made.epsilon < 0.01
    assert len(made.items()[0]) < 256 * 2 * 8 * 10


def test_small_windows_are_exact():
    values = np.random.default_rng(0).normal(size=8_000)
    made = Quantiles()
    for part in np.split(values, 32):
        made.update(part)
    assert made.epsilon == 0.0
    grid = np.linspace(0.001, 0.999, 99)
    assert made.quantile(grid).tolist() == np.quantile(values, grid, method="inverted_cdf").tolist()


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(SHAPES), seeds, st.integers(1, 20_000), st.integers(1, 20_000))
def test_two_sketches_are_read_at_the_same_points(shape, seed, size, other):
    one, two = sketch(values_of(shape, seed, size)), sketch(values_of("integers", seed + 1, other))
    points, first, second = paired(one, two)
    assert (np.diff(points) > 0).all()
    assert first.tolist() == one.cdf(points).tolist()
    assert second.tolist() == two.cdf(points).tolist()


def test_an_empty_sketch_says_nothing():
    empty = Quantiles()
    assert math.isnan(empty.cdf(0.0))
    assert math.isnan(empty.quantile(0.5))
    assert empty.epsilon == 0.0
    assert empty.to_kll()["buckets"] == []
    assert Quantiles.unpack(*empty.pack()).merge(empty).n == 0


def test_quantiles_survive_being_stored():
    made = sketch(values_of("lognormal", 1, 100_000))
    content, values = made.pack()
    again = Quantiles.unpack(json.loads(json.dumps(content)), values)
    grid = np.linspace(0, 1, 101)
    assert again.quantile(grid).tolist() == made.quantile(grid).tolist()
    assert (again.epsilon, again.n) == (made.epsilon, made.n)


def test_kll_holds_every_row_in_model_monitors_layout():
    values = np.random.default_rng(0).normal(size=300_000)
    kll = sketch(values, k=4096).to_kll()
    sketched = kll["sketch"]
    assert sketched["parameters"] == {"c": 0.64, "k": 2048.0}
    assert sum(len(level) << height for height, level in enumerate(sketched["data"])) == len(values)
    assert all(len(level) <= 2048 for level in sketched["data"])
    assert sum(bucket["count"] for bucket in kll["buckets"]) == len(values)
    counts, edges = np.histogram(values, 10)
    assert [bucket["lower_bound"] for bucket in kll["buckets"]] == pytest.approx(edges[:-1].tolist())
    assert [bucket["count"] for bucket in kll["buckets"]] == pytest.approx(counts, abs=0.001 * len(values))


def hashes_of(values: np.ndarray) -> np.ndarray:
    return finish(spread(np.asarray(values, float).view(np.uint64), multiplier("x")))


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 60_000), st.lists(st.floats(0, 1), max_size=6), st.randoms())
def test_distinct_values_are_the_same_in_any_order_and_grouping(seed, different, cuts, random):
    values = np.random.default_rng(seed).integers(0, different, 60_000)
    whole = Distinct(512)
    whole.update(hashes_of(values))
    shards = []
    for part in parts_of(values, cuts):
        shard = Distinct(512)
        for piece in np.array_split(part, 3):
            shard.update(hashes_of(piece))
        shards.append(shard)
    random.shuffle(shards)
    made = merged(shards)
    assert made.estimate() == whole.estimate()
    assert made.repeated() == whole.repeated()
    assert json.dumps(made.pack()[0]) == json.dumps(whole.pack()[0])
    assert (made.hashes == whole.hashes).all()
    assert (made.counts == whole.counts).all()


@pytest.mark.parametrize("step", [1, 0.1, 0.5, 1024, 1e9])
@pytest.mark.parametrize("different", [100, 4096, 50_000])
def test_distinct_values_are_counted_within_four_standard_errors(step, different):
    made = Distinct()
    made.update(hashes_of(np.repeat(np.arange(different) * step, 3)))
    bound = 0 if different <= 4096 else 4 / math.sqrt(4096 - 2)
    assert abs(made.estimate() / different - 1) <= bound
    assert made.repeated() == pytest.approx(2 / 3)


def test_repeated_rows_are_estimated_from_the_kept_values():
    rng = np.random.default_rng(0)
    values = np.concatenate([np.arange(400_000), rng.choice(400_000, 8_000, replace=False)])
    made = Distinct()
    made.update(hashes_of(values))
    assert made.repeated() == pytest.approx(8_000 / 408_000, abs=0.01)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.text(max_size=3), min_size=1, max_size=200),
    st.lists(st.floats(0, 1), max_size=4),
    st.randoms(),
)
@example(["a", "\x00", "", "ab", "a\x00"], [], None)
def test_categories_are_counted_exactly_in_any_order(texts, cuts, random):
    shards = []
    for part in parts_of(np.array(texts, object), cuts):
        counts = Counts()
        if len(part):
            encoded = pa.array(part.tolist(), pa.string()).dictionary_encode()
            counts.update(encoded.dictionary, np.bincount(encoded.indices, minlength=len(encoded.dictionary)))
        shards.append(counts)
    if random:
        random.shuffle(shards)
    made = merged(shards)
    assert made.as_dict() == dict(Counter(texts))
    assert made.total == len(texts)
    assert made.of([*texts, "never seen"]).tolist() == [*(texts.count(text) for text in texts), 0]
    assert Counts.unpack(*made.pack()).as_dict() == made.as_dict()


def test_rare_categories_go_into_other_with_a_stated_error():
    made = Counts(limit=100)
    rng = np.random.default_rng(0)
    truth = np.zeros(2000, np.int64)
    names = [f"c{index}" for index in range(2000)]
    for _ in range(40):
        counts = np.bincount(rng.zipf(1.3, 5000) % 2000, minlength=2000)
        truth += counts
        made.update(pa.array(names[:]), counts.copy())
        made.merge(Counts(100))
    assert made.total == truth.sum()
    assert len(made.values) == 100
    kept = dict(zip(names, truth.tolist(), strict=True))
    assert all(0 <= kept[name] - count <= made.error for name, count in made.as_dict().items())
    assert not made.exact


def test_texts_that_differ_have_different_hashes():
    texts = ["", "a", "b", "ab", "ba", "aa", "\x00", "\x00\x00", "a\x00", "é", *map(str, range(20_000))]
    hashes = hash_text(pa.array([*texts, None]), multiplier("x"))
    assert len(np.unique(hashes[:-1])) == len(texts)
    assert hashes[-1] == hashes[0], "a null hashes as the empty string: whoever counts leaves it out"
    assert (hash_text(pa.array(["x", *texts]).slice(1), multiplier("x")) == hashes[:-1]).all()


def merged(shards):
    made = shards[0]
    for shard in shards[1:]:
        made = made.merge(shard)
    return made
