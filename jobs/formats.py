"""SageMaker Model Monitor's files: statistics.json, constraints.json, constraint_violations.json."""

from __future__ import annotations

from typing import Any

import numpy as np

from jobs.drift import Reference

INFERRED_TYPES = {"number": "Fractional", "integer": "Integral", "string": "String", "boolean": "String"}
BUCKETS = 10
LISTED = 100


def statistics(columns: dict[str, tuple[str, Any]], rows: int) -> dict[str, Any]:
    """`columns`: name -> (type, values): float arrays with NaN, or lists of text with None."""
    return {
        "version": 0.0,
        "dataset": {"item_count": rows},
        "features": [_feature_statistics(name, kind, values) for name, (kind, values) in columns.items()],
    }


def constraints(references: list[Reference], drift: float) -> dict[str, Any]:
    return {
        "version": 0.0,
        "features": [_feature_constraints(reference) for reference in references],
        "monitoring_config": {
            "evaluate_constraints": "Enabled",
            "emit_metrics": "Enabled",
            "datatype_check_threshold": 1.0,
            "domain_content_threshold": 1.0,
            "distribution_constraints": {
                "perform_comparison": "Enabled",
                "comparison_threshold": drift,
                "comparison_method": "Robust",
                "categorical_comparison_threshold": drift,
                "categorical_drift_method": "LInfinity",
            },
        },
    }


def violations(found: list[dict[str, Any]]) -> dict[str, Any]:
    keys = ("feature_name", "constraint_check_type", "description")
    return {"violations": [{key: violation[key] for key in keys} for violation in found]}


def _feature_statistics(name: str, kind: str, values: Any) -> dict[str, Any]:
    head = {"name": name, "inferred_type": INFERRED_TYPES[kind]}
    if kind in ("string", "boolean"):
        present = [value for value in values if value is not None]
        names, counts = np.unique(present or [""], return_counts=True)
        order = np.argsort(-counts, kind="stable")[: LISTED if present else 0]
        buckets = [{"value": str(names[index]), "count": int(counts[index])} for index in order]
        return head | {
            "string_statistics": {
                "common": {"num_present": len(present), "num_missing": len(values) - len(present)},
                "distinct_count": float(len(names) if present else 0),
                "distribution": {"categorical": {"buckets": buckets}},
            }
        }
    present = values[np.isfinite(values)]
    common = {"num_present": len(present), "num_missing": len(values) - len(present)}
    if not len(present):
        return head | {"numerical_statistics": {"common": common}}
    counts, edges = np.histogram(present, BUCKETS)
    buckets = [
        {"lower_bound": float(low), "upper_bound": float(high), "count": float(count)}
        for low, high, count in zip(edges, edges[1:], counts, strict=False)
    ]
    return head | {
        "numerical_statistics": {
            "common": common,
            "mean": float(present.mean()),
            "sum": float(present.sum()),
            "std_dev": float(present.std()),
            "min": float(present.min()),
            "max": float(present.max()),
            "distribution": {"kll": {"buckets": buckets}},
        }
    }


def _feature_constraints(reference: Reference) -> dict[str, Any]:
    content: dict[str, Any] = {
        "name": reference.name,
        "inferred_type": INFERRED_TYPES[reference.type],
        "completeness": round(1 - reference.missing_threshold, 4),
    }
    if reference.is_categorical:
        return content | {"string_constraints": {"domains": list(reference.cells)}}
    return content | {"num_constraints": {"is_non_negative": not reference.cells or reference.cells[0] >= 0}}
