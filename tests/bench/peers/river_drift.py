"""Runs in river's own environment: `river_drift.py <folder> <peer> <share>`. Finds, by bisection, the peer's
most sensitive level whose alarms on the quiet streams stay within the share, and prints one JSON line:
{"setting", "alarms": 0 or 1 of each quiet stream, "first": {change: rows until the alarm of each stream, or
null}}. Without arguments it prints the names of the peers.

The folder holds (streams, rows), 0 and 1 per prediction, 1 where it was wrong: quiet.npy, a file per change,
and what every detector sees before either, warm_quiet.npy and warm_changed.npy.
"""

import copy
import functools
import json
import sys
from pathlib import Path

import numpy as np
from river import drift
from river.drift.binary import DDM

HALVINGS = 6


def page_hinkley(delta: float):
    return functools.partial(drift.PageHinkley, delta=delta, alpha=1.0, mode="up")


# What makes the detector; its level's name; a level that alarms too often, and one that does too seldom.
PEERS = {
    "ADWIN": (drift.ADWIN, "delta", 0.03, 0.003),
    "DDM": (DDM, "drift_threshold", 2.8, 4.0),
    "Page-Hinkley, delta=0.005, its own": (page_hinkley(0.005), "threshold", 62.0, 90.0),
    "Page-Hinkley, delta=0.02": (page_hinkley(0.02), "threshold", 27.0, 38.0),
    "Page-Hinkley, delta=0.03": (page_hinkley(0.03), "threshold", 20.0, 29.0),
    "Page-Hinkley, delta=0.05": (page_hinkley(0.05), "threshold", 14.0, 20.0),
}


def settle(detector, rows: list[int]) -> bool:
    """Shows it the baseline. Has it alarmed? It starts anew then."""
    has_alarmed = False
    for value in rows:
        detector.update(value)
        has_alarmed = has_alarmed or detector.drift_detected
    return has_alarmed


def first_alarm(detector, rows: list[int]) -> int | None:
    for index, value in enumerate(rows):
        detector.update(value)
        if detector.drift_detected:
            return index + 1
    return None


def watch(make, warm: np.ndarray, stream: np.ndarray) -> tuple[bool, bool]:
    """Alarms in the baseline, and after it."""
    detector = make()
    return settle(detector, warm.tolist()), first_alarm(detector, stream.tolist()) is not None


def tune(
    make, name: str, loose: float, strict: float, streams: dict, share: float
) -> tuple[float, np.ndarray]:
    """The level, and which quiet streams alarm at it. Until its first alarm a detector does not depend on its
    level, so that a stream without any at the loosest level has none at another."""
    pairs = list(zip(streams["warm_quiet"], streams["quiet"], strict=True))
    seen = np.array([watch(functools.partial(make, **{name: loose}), *pair) for pair in pairs])

    def alarms_at(level: float) -> np.ndarray:
        found = np.zeros(len(pairs), bool)
        for index in np.flatnonzero(seen.any(1)):
            found[index] = watch(functools.partial(make, **{name: level}), *pairs[index])[1]
        return found

    alarms = alarms_at(strict)
    if not alarms.mean() <= share < seen[:, 1].mean():
        raise SystemExit(f"{name}: {loose} alarms on {seen[:, 1].mean()}, {strict} on {alarms.mean()}")
    for _ in range(HALVINGS):
        middle = (loose * strict) ** 0.5
        found = alarms_at(middle)
        if found.mean() <= share:
            strict, alarms = middle, found
        else:
            loose = middle
    return strict, alarms


def first_alarms(make, streams: dict, changes: list[str]) -> dict[str, list[int | None]]:
    """Each change is watched by a copy of the one detector that has seen the baseline."""
    first = {change: [] for change in changes}
    for index, warm in enumerate(streams["warm_changed"]):
        settled = make()
        settle(settled, warm.tolist())
        for change in changes:
            first[change].append(first_alarm(copy.deepcopy(settled), streams[change][index].tolist()))
    return first


def main(folder: str, peer: str, share: str) -> dict:
    streams = {path.stem: np.load(path) for path in sorted(Path(folder).glob("*.npy"))}
    make, name, loose, strict = PEERS[peer]
    level, alarms = tune(make, name, loose, strict, streams, float(share))
    changes = [stem for stem in streams if stem.startswith("+")]
    first = first_alarms(functools.partial(make, **{name: level}), streams, changes)
    return {"setting": f"{name}={level:.3g}", "alarms": alarms.astype(int).tolist(), "first": first}


print(json.dumps(main(*sys.argv[1:]) if sys.argv[1:] else list(PEERS)))
