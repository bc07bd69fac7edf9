"""Bias metrics as smclarify 0.5 computes them, for tables drawn at random. Writes smclarify_bias.json:

    .tools/bench/smclarify/bin/python tests/monitor/oracles/smclarify_bias.py

with the environment that `python -m tests.bench.environments smclarify` makes.
"""

import inspect
import json
from pathlib import Path

import numpy as np
import pandas as pd
import smclarify
from smclarify.bias.metrics import posttraining, pretraining

CASES = 12
GROUPS, STRATA = 3, 4
NAMES = ["CI", "DPL", "KL", "JS", "LP", "TVD", "KS", "CDDL"]
LATER = ["DPPL", "DI", "DCA", "DCR", "SD", "RD", "DAR", "DRR", "AD", "TE", "CDDPL", "GE"]


def draw(generator):
    """Counts (groups, strata, label, prediction), none of them zero: there the definitions differ."""
    return generator.integers(1, 40, size=(GROUPS, STRATA, 2, 2))


def rows(counts):
    cells = np.argwhere(np.ones(counts.shape, bool))
    return np.repeat(cells, counts.reshape(-1), axis=0)


def measure(counts):
    facet, stratum, label, prediction = (pd.Series(column) for column in rows(counts).T)
    found = {}
    for group in range(GROUPS):
        known = {
            "feature": facet,
            "sensitive_facet_index": facet == group,
            "label": label,
            "positive_label_index": label == 1,
            "positive_predicted_label_index": prediction == 1,
            "group_variable": stratum,
        }
        metrics = [getattr(pretraining, name) for name in NAMES]
        metrics += [getattr(posttraining, name) for name in LATER]
        found[group] = {
            metric.__name__: float(
                metric(**{key: known[key] for key in inspect.signature(metric).parameters})
            )
            for metric in metrics
        }
    return found


def measure_classes(counts):
    """Distances between distributions of a label of several classes. `counts`: (groups, classes)."""
    facet, label = (pd.Series(column) for column in rows(counts).T)
    return {
        group: {
            name: float(getattr(pretraining, name)(label, facet == group))
            for name in ("KL", "JS", "LP", "TVD", "KS")
        }
        for group in range(GROUPS)
    }


def main():
    generator = np.random.default_rng(20261120)
    tables = [draw(generator) for _ in range(CASES)]
    classes = [generator.integers(1, 60, size=(GROUPS, 5)) for _ in range(CASES)]
    content = {
        "smclarify": getattr(smclarify, "__version__", "0.5"),
        "tables": [{"counts": table.tolist(), "metrics": measure(table)} for table in tables],
        "classes": [{"counts": table.tolist(), "metrics": measure_classes(table)} for table in classes],
    }
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(content, separators=(",", ":")).replace('{"counts"', '\n{"counts"') + "\n")


if __name__ == "__main__":
    main()
