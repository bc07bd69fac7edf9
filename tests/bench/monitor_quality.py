"""Quality of a million predictions with intervals, beside scikit-learn's values alone; and the detector's
false alarms on real days: the losses of a model of flights and of one of police stops, on days drawn at
random from months that it has not seen, so that no day is worse than another but by chance."""

from __future__ import annotations

import statistics
import sys
import time
from datetime import UTC, datetime

import numpy as np
from sklearn import metrics as oracle
from sklearn.ensemble import HistGradientBoostingClassifier

from jobs.monitor import detector, losses, quality
from jobs.monitor.quality import Scores
from jobs.spec import BINARY
from local import flights
from tests.bench import real
from tests.bench.monitor_capture import FLIGHTS

ROWS, REPEATS, DRAWS, WEEKS = 1_000_000, 3, 200, 26
TOLERANCE = 0.1  # of the baseline's loss: the default


def run() -> None:
    _speed()
    for name, days in (("flights", _flights()), ("stops", _stops())):
        false_alarms(name, days)


def false_alarms(name: str, days: list[np.ndarray]) -> None:
    for count in (14, 28, 56):
        share, years = _alarms(days, count, worse=1.0)
        _, found = _alarms(days, count, worse=1.5)
        print(
            f"{name}, real days, baseline of {count}: {share:.2%} of the weeks in alarm (at most 2 %), "
            f"{years:.1%} of the half-years with one; half as bad again is found in {found:.0%} of them"
        )


def _speed() -> None:
    rng = np.random.default_rng(0)
    probability = rng.random(ROWS)
    label = (rng.random(ROWS) < probability).astype(int)
    scores = Scores(BINARY, label, (probability > 0.5).astype(int), probability)
    block = np.arange(ROWS) * 30 // ROWS
    ours, theirs = [], []
    for _ in range(REPEATS):
        start = time.perf_counter()
        found = quality.intervals(scores, block)
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        value = oracle.roc_auc_score(label, probability)
        oracle.average_precision_score(label, probability)
        oracle.log_loss(label, probability)
        oracle.brier_score_loss(label, probability)
        for metric in (oracle.f1_score, oracle.precision_score, oracle.recall_score, oracle.accuracy_score):
            metric(label, scores.predicted)
        theirs.append(time.perf_counter() - start)
    assert abs(found["roc_auc"]["value"] - value) < 1e-6
    mine, other = statistics.median(ours), statistics.median(theirs)
    print(
        f"8 metrics of {ROWS:,} rows: ours with {quality.REPLICATES:,} block replicates {mine:.2f} s, "
        f"scikit-learn without {other:.2f} s, ratio {mine / other:.2f}"
    )


def _flights() -> list[np.ndarray]:
    """Squared errors of each day's flights in March and April, of a model of January and February."""
    sys.path.insert(0, str(FLIGHTS))
    from features import FEATURES, encode

    table = flights.rows(datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 5, 1, tzinfo=UTC))
    columns = {name: table[name].to_pylist() for name in FEATURES}
    categories = {
        name: sorted({value for value in values if value is not None})
        for name, values in columns.items()
        if isinstance(values[0], str)
    }
    rows = np.asarray(encode(columns, categories))
    label = np.array(table["late"].to_pylist()).astype(int)
    day = np.array([moment.toordinal() for moment in table["scheduled_departure"].to_pylist()])
    day -= day.min()
    return _losses(rows, label, day, day < 59)


def _stops() -> list[np.ndarray]:
    """Squared errors of each day's stops from July to December, of a model of the first half of the year: was
    the person searched?"""
    table, schema = real.load("stops")
    table = table.filter(table["personSearch"].is_valid())
    names = [
        name for name in schema.fields if name not in ("personSearch", "vehicleSearch", "citationIssued")
    ]
    columns = []
    for name in names:
        column = table[name].combine_chunks()
        coded = column.dictionary_encode().indices if schema.fields[name].type == "string" else column
        columns.append(np.array(coded.cast("float64").fill_null(np.nan)))
    label = np.array(table["personSearch"].to_pylist()) == "YES"
    day = np.array([moment.toordinal() for moment in table["time"].to_pylist()])
    day -= day.min()
    return _losses(np.column_stack(columns), label.astype(int), day, day < 181)


def _losses(rows: np.ndarray, label: np.ndarray, day: np.ndarray, is_seen: np.ndarray) -> list[np.ndarray]:
    """Of each day that the model has not seen."""
    model = HistGradientBoostingClassifier(max_iter=80, max_leaf_nodes=15, random_state=0)
    probability = model.fit(rows[is_seen], label[is_seen]).predict_proba(rows)[:, 1]
    loss = losses.of_rows(Scores(BINARY, label, (probability > 0.3).astype(int), probability), "brier")
    return [loss[day == number] for number in np.unique(day[~is_seen])]


def _alarms(days: list[np.ndarray], count: int, worse: float) -> tuple[float, float]:
    """Share of weeks in alarm and of half-years with an alarm, of days `worse` times as bad as the
    baseline's."""
    rng = np.random.default_rng(count)
    means, sizes = np.array([day.mean() for day in days]), np.array([len(day) for day in days])
    weeks = alarms = halves = 0
    for _ in range(DRAWS):
        drawn = rng.integers(0, len(days), count)
        baseline = np.concatenate([days[number] for number in drawn])
        known = detector.fit(
            baseline,
            np.repeat(np.arange(count), sizes[drawn]),
            name="brier",
            cap=None,
            tolerance=TOLERANCE * float(baseline.mean()),
            seconds=86_400,
            window_blocks=7,
        )
        lived = rng.integers(0, len(days), 7 * WEEKS)
        factors = detector.factors(known, means[lived] * worse, sizes[lived])
        values = detector.trajectory(factors, known.threshold * detector.ROOF)
        is_over = values.reshape(WEEKS, 7)[:, -1] >= known.threshold
        weeks, alarms, halves = weeks + WEEKS, alarms + int(is_over.sum()), halves + bool(is_over.any())
    return alarms / weeks, halves / DRAWS


if __name__ == "__main__":
    run()
