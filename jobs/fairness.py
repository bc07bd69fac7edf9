"""Bias of one model on the holdout: every metric of monitor/bias_metrics for each group of the protected
columns, with its interval and, where a limit may be set on it, the chance of it where there is no bias.

The chance is Student's t on the bootstrap's standard error over days, or on that of the two-proportion score
test where it is larger: in a small group without a single positive the days do not vary at all.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jobs import gains
from jobs.monitor import bias, bias_figures
from jobs.monitor.bias_metrics import measure, pooled_error
from jobs.monitor.tally import Tally
from jobs.monitor.window import Window
from jobs.spec import Spec

# Metrics on which the gate takes a limit -> the difference of shares that is 0 where they are neutral.
LIMITED = {name: name for name in bias.JUDGED} | {"DI": "DPPL"}


def groups(spec: Spec, holdout: Window) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """({"carrier=UA": {"rows", "rest", "metrics": {"DPPL": {"value", "low", "high", "chance"}}}}, why a
    protected column is not among them). `rest`: rows of everyone else."""
    columns = {name: holdout.table[name] for name in holdout.table.column_names}
    skipped: bias.Skipped = []
    planned = bias.layouts(bias.Settings.of(spec), columns, holdout.label, skipped)
    counted = bias.tallies(planned, columns, holdout.label, holdout.prediction, holdout.times, skipped)
    found = {group: figures for tally in counted for group, figures in _groups(tally).items()}
    return found, [f"no bias of {entry['facet']}: {entry['reason']}" for entry in skipped]


def _groups(tally: Tally) -> dict[str, dict[str, Any]]:
    drawn = bias_figures.resampled(tally)
    chances = _chances(tally, drawn)
    rows = tally.counts.sum((0, 2, 3, 4))
    return {
        group: {
            "rows": int(rows[position]),
            "rest": int(rows.sum() - rows[position]),
            "metrics": {
                name: {
                    **{key: entry[key] for key in ("value", "low", "high")},
                    "chance": chances[name][position] if name in chances else None,
                }
                for name, entry in metrics.items()
            },
        }
        for position, (group, metrics) in enumerate(bias_figures.by_group(tally, drawn).items())
    }


def _chances(tally: Tally, drawn: dict[str, np.ndarray]) -> dict[str, list[float | None]]:
    """metric -> of each group: the chance of so large a distance from no bias on its side."""
    # Without enough days rows are drawn, each for itself.
    blocks = len(tally.days) if len(tally.days) >= bias_figures.MIN_DAYS else tally.rows
    counts = tally.counts.sum(0)
    found = {}
    for name, tested in LIMITED.items():
        value, floor = measure(counts, names=(tested,))[tested][0], pooled_error(counts, tested)
        found[name] = [
            gains.tail(abs(value[group]), max(gains.standard_error(column, blocks), floor[group]), blocks)
            for group, column in enumerate(drawn[tested].T[: len(tally.layout.facet.groups)])
        ]
    return found
