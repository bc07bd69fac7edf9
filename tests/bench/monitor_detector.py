"""How soon a model that has become worse is found, beside river's detectors, at equal false alarms.

A stream is 0 and 1 per prediction, 1 where it was wrong: 20 % of the time, then more. Every detector sees a
baseline of 5,000 rows first. Each peer's level is the most sensitive that alarms on at most 1 % of the quiet
streams of 5,000 rows. Equal false alarms: beside each we are measured at the threshold that alarms on as many
of them as it did. The standard error of a ratio resamples the quiet streams, too: a threshold owes itself to
the few that alarm. Ours reads blocks of 5 rows here, as rows are independent.

To be read with two things in mind. Our bets (detector.BETS, LOWS and WEIGHTS) were chosen on other draws of
these very changes; so Page-Hinkley stands here with deltas that suit one change each, beside its own. And the
threshold that we state and use comes from a bound: it alarms less and later, as the row "as stated" shows.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from jobs.monitor import detector
from tests.bench.environments import environment

PEER = Path(__file__).parent / "peers" / "river_drift.py"
STREAMS = int(os.environ.get("BENCH_STREAMS", "1000"))
SEED = int(os.environ.get("BENCH_SEED", "11"))
QUIET = 4 * STREAMS  # a threshold rests on the one stream in a hundred that alarms
WARM, ROWS, CHANGE, BLOCK = 5000, 5000, 1000, 5
RATE, FALSE_ALARMS = 0.2, 0.01
CHANGES = (0.05, 0.10, 0.20)
REPLICATES = 200


def run() -> None:
    streams = drawn(np.random.default_rng(SEED))
    ours = Ours(streams)
    print(
        f"Rows until an error rate of {RATE:.0%} that grew is found; {STREAMS} streams, {QUIET} quiet ones."
    )
    print("(ours x +- se): how long we take at the same false alarms as that row, as a share of its time")
    show("ours", FALSE_ALARMS, ours.at(FALSE_ALARMS))
    show("ours, as stated", (ours.peaks >= ours.stated).mean(), ours.delays(ours.stated))
    with tempfile.TemporaryDirectory() as folder:
        for name, rows in streams.items():
            np.save(Path(folder) / f"{name}.npy", rows.astype(np.int8))
        for name in river():
            found = river(folder, name, str(FALSE_ALARMS))
            alarms = np.array(found["alarms"], bool)
            theirs = {change: after(np.array(first, float)) for change, first in found["first"].items()}
            show(f"{name}, {found['setting']}", alarms.mean(), theirs, ratios(ours, alarms, theirs))


def drawn(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """bool (streams, rows), by name."""

    def draw(streams: int, rates: np.ndarray) -> np.ndarray:
        return rng.random((streams, len(rates)), np.float32) < rates

    grown = np.arange(CHANGE + ROWS) >= CHANGE
    return {
        "warm_quiet": draw(QUIET, np.full(WARM, RATE)),
        "quiet": draw(QUIET, np.full(ROWS, RATE)),
        "warm_changed": draw(STREAMS, np.full(WARM, RATE)),
        **{f"+{change:.2f}": draw(STREAMS, RATE + change * grown) for change in CHANGES},
    }


def river(*arguments: str) -> dict | list:
    command = [str(environment("river")), str(PEER), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def after(first: np.ndarray) -> np.ndarray:
    """Rows from the change to the alarm; the whole stream where there is none, NaN where it was before."""
    found = np.where(np.isnan(first), CHANGE + ROWS, first) - CHANGE
    return np.where(found > 0, found, np.nan)


class Ours:
    """The largest that the detector's M came to, by quiet stream (`peaks`) and by block of the others
    (`paths`)."""

    def __init__(self, streams: dict[str, np.ndarray]) -> None:
        known = [fit(stream) for stream in streams["warm_quiet"]]
        self.stated = known[0].threshold
        self.peaks = np.array([values(*pair).max() for pair in zip(known, streams["quiet"], strict=True)])
        known = [fit(stream) for stream in streams["warm_changed"]]
        self.paths = {
            name: np.maximum.accumulate([values(*pair) for pair in zip(known, rows, strict=True)], axis=1)
            for name, rows in streams.items()
            if name.startswith("+")
        }

    def at(self, share: float, quiet: np.ndarray | slice = slice(None)) -> dict[str, np.ndarray]:
        """Where this share of the quiet streams alarms."""
        return self.delays(float(np.quantile(self.peaks[quiet], 1 - share)))

    def delays(self, threshold: float) -> dict[str, np.ndarray]:
        found = {}
        for name, paths in self.paths.items():
            blocks = (paths < threshold).sum(1)
            found[name] = after(np.where(blocks < paths.shape[1], (blocks + 1.0) * BLOCK, np.nan))
        return found


def fit(stream: np.ndarray) -> detector.Settings:
    return detector.fit(
        stream.astype(float),
        np.arange(WARM) // BLOCK,
        name="error",
        cap=None,
        tolerance=0.0,
        seconds=1,
        window_blocks=ROWS / BLOCK,
        false_alarms=FALSE_ALARMS,
        min_rows=1,
    )


def values(known: detector.Settings, stream: np.ndarray) -> np.ndarray:
    means = stream.reshape(-1, BLOCK).mean(1)
    return detector.trajectory(detector.factors(known, means, np.full(len(means), BLOCK)))


def ratios(ours: Ours, alarms: np.ndarray, theirs: dict[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    """By change, our mean delay over theirs at equal false alarms, and its standard error."""

    def ratio(quiet: np.ndarray | slice, changed: np.ndarray | slice) -> list[float]:
        same = ours.at(float(alarms[quiet].mean()), quiet)
        return [np.nanmean(same[name][changed]) / np.nanmean(theirs[name][changed]) for name in theirs]

    rng = np.random.default_rng(SEED)
    again = [
        ratio(rng.integers(0, QUIET, QUIET), rng.integers(0, STREAMS, STREAMS)) for _ in range(REPLICATES)
    ]
    whole = ratio(slice(None), slice(None))
    return dict(zip(theirs, zip(whole, np.std(again, axis=0), strict=True), strict=True))


def show(
    name: str,
    share: float,
    delays: dict[str, np.ndarray],
    beside: dict[str, tuple[float, float]] | None = None,
) -> None:
    cells = []
    for change, rows in delays.items():
        same = " (ours {:.2f} +- {:.2f})".format(*beside[change]) if beside else ""
        cells.append(f"{change}: {np.nanmean(rows):5,.0f}{same}")
    print(f"  {name:50} false alarms {share:5.1%}  " + "  ".join(cells), flush=True)


if __name__ == "__main__":
    run()
