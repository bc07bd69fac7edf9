"""Runs in river's own environment: `river_drift.py <folder> <share>`. For each detector the parameter that
finds the changes first among those whose alarms on the quiet streams stay within the share; prints one
JSON line: {detector: {"setting", "false_alarms", "delays": {stream: rows}}}.

The folder holds warm.npy (streams, rows): the baseline that every detector sees first; quiet.npy, and a file
per change: 0 and 1 per prediction, 1 where it was wrong. The first CHANGE rows of a changed stream are quiet.
"""

import json
import sys
from pathlib import Path

import numpy as np
from river import drift
from river.drift.binary import DDM, HDDM_A

CHANGE = 1000


def page_hinkley(levels: dict) -> list:
    """Of each delta, the settings with these thresholds. Its default delta is 0.005."""
    return [
        (
            f"delta={delta}, threshold={level}",
            lambda delta=delta, level=level: drift.PageHinkley(
                delta=delta, threshold=level, alpha=1.0, mode="up"
            ),
        )
        for delta, thresholds in levels.items()
        for level in thresholds
    ]


GRID = {
    "ADWIN": [
        (f"delta={delta}", lambda delta=delta: drift.ADWIN(delta=delta))
        for delta in (0.02, 0.01, 0.005, 0.002)
    ],
    "DDM": [
        (f"drift_threshold={level}", lambda level=level: DDM(drift_threshold=level)) for level in (3.0, 3.5)
    ],
    "Page-Hinkley": page_hinkley({0.005: (80, 90, 100)}),
    "Page-Hinkley, delta in hindsight": page_hinkley(
        {0.02: (31, 32, 33, 34), 0.03: (23, 24, 25), 0.04: (20, 22)}
    ),
    "HDDM_A": [
        (f"drift_confidence={level}", lambda level=level: HDDM_A(drift_confidence=level))
        for level in (0.001, 0.0003)
    ],
}


def first_alarm(make, warm: np.ndarray, stream: np.ndarray) -> int | None:
    detector = make()
    for value in warm.tolist():
        detector.update(value)
    for index, value in enumerate(stream.tolist()):
        detector.update(value)
        if detector.drift_detected:
            return index + 1
    return None


def delay(make, warm: np.ndarray, streams: np.ndarray) -> float:
    """Mean rows from the change to the alarm, of the streams without an alarm before it; a miss counts as the
    whole stream."""
    alarms = [first_alarm(make, *pair) or streams.shape[1] for pair in zip(warm, streams, strict=True)]
    return float(np.mean([alarm - CHANGE for alarm in alarms if alarm > CHANGE]))


def main() -> None:
    folder, share = Path(sys.argv[1]), float(sys.argv[2])
    streams = {path.stem: np.load(path) for path in sorted(folder.glob("*.npy"))}
    warm, quiet = streams.pop("warm"), streams.pop("quiet")
    found = {}
    for name, settings in GRID.items():
        for setting, make in settings:
            alarms = np.mean([first_alarm(make, *pair) is not None for pair in zip(warm, quiet, strict=True)])
            if alarms > share:
                continue
            delays = {change: delay(make, warm, changed) for change, changed in streams.items()}
            best = found.get(name)
            if best is None or sum(delays.values()) < sum(best["delays"].values()):
                found[name] = {"setting": setting, "false_alarms": float(alarms), "delays": delays}
    print(json.dumps(found))


main()
