"""SageMaker Model Monitor's files, so that what reads them goes on reading: statistics.json, constraints.json
and constraint_violations.json, in the layout of AWS's developer guide ("Schema for Statistics", "Schema for
Constraints", "Schema for Violations")."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jobs.monitor.profile import Column, NumberColumn, Profile

INFERRED_TYPES = {"number": "Fractional", "integer": "Integral", "string": "String", "boolean": "String"}
VERSION = 0.0
LISTED = 100  # categories with their counts in statistics.json
DOMAIN = 500  # categories from which on a column has no domain that one could list
BUCKETS = 10


def statistics(profile: Profile) -> dict[str, Any]:
    """`num_missing` counts what is no value of the column's type: null, NaN, infinite or of another type."""
    features = [_feature_statistics(name, column) for name, column in profile.columns.items()]
    return {"version": VERSION, "dataset": {"item_count": profile.rows}, "features": features}


def constraints(profile: Profile, threshold: float, method: str = "Robust") -> dict[str, Any]:
    """Suggested from a baseline: completeness as it was, signs and domains as they were seen or declared.
    `threshold` and `method` are those of the distribution comparison ("Robust" or "Simple")."""
    return {
        "version": VERSION,
        "features": [_feature_constraints(name, column) for name, column in profile.columns.items()],
        "monitoring_config": {
            "evaluate_constraints": "Enabled",
            "emit_metrics": "Enabled",
            "datatype_check_threshold": 1.0,
            "domain_content_threshold": 1.0,
            "distribution_constraints": {
                "perform_comparison": "Enabled",
                "comparison_threshold": threshold,
                "comparison_method": method,
                "categorical_comparison_threshold": threshold,
                "categorical_drift_method": "LInfinity",
            },
        },
    }


def violations(found: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The three keys that Model Monitor writes, and those of bias drift where a violation has a facet."""
    made = []
    for one in found:
        kept = {key: one[key] for key in ("feature_name", "constraint_check_type", "description")}
        if "facet" in one:
            kept |= {"facet": one["facet"], "facet_value": one["facet_value"], "metric_name": one["metric"]}
        made.append(kept)
    return {"violations": made}


def write(path: Path, content: dict[str, Any]) -> None:
    """Strict JSON without line breaks inside: a sketch holds thousands of numbers."""
    path.write_text(json.dumps(content, allow_nan=False, separators=(",", ":")) + "\n")


def inferred_type(column: Column) -> str:
    """`Unknown` where no value was of a known type."""
    return INFERRED_TYPES[column.field.type] if column.n else "Unknown"


def _feature_statistics(name: str, column: Column) -> dict[str, Any]:
    head = {"name": name, "inferred_type": inferred_type(column)}
    common = {"num_present": column.n, "num_missing": column.rows - column.n}
    if not isinstance(column, NumberColumn):
        buckets = [{"value": value, "count": count} for value, count in column.counts.as_dict(LISTED).items()]
        return head | {
            "string_statistics": {
                "common": common,
                "distinct_count": float(round(column.distinct.estimate())),
                "distribution": {"categorical": {"buckets": buckets}},
            }
        }
    if not column.n:
        return head | {"numerical_statistics": {"common": common}}
    return head | {
        "numerical_statistics": {
            "common": common,
            "mean": _finite(column.mean),
            "sum": _finite(column.sum),
            "std_dev": _finite(column.std),
            "min": column.min,
            "max": column.max,
            "distribution": {"kll": column.quantiles.to_kll(BUCKETS)},
        }
    }


def _finite(value: float) -> float:
    """Sums of values near the greatest float overflow; JSON has no infinity."""
    return value if math.isfinite(value) else math.copysign(sys.float_info.max, value)


def _feature_constraints(name: str, column: Column) -> dict[str, Any]:
    whole = not column.field.nullable
    completeness = 1.0 if whole or not column.rows else round(column.n / column.rows, 6)
    content: dict[str, Any] = {
        "name": name,
        "inferred_type": INFERRED_TYPES[column.field.type],
        "completeness": completeness,
    }
    if isinstance(column, NumberColumn):
        low = column.field.minimum if column.field.minimum is not None else column.min
        return content | {"num_constraints": {"is_non_negative": bool(low >= 0)}}
    if column.field.values is not None:
        return content | {"string_constraints": {"domains": list(column.field.values)}}
    if column.distinct.estimate() > DOMAIN:
        return content
    return content | {"string_constraints": {"domains": list(column.counts.as_dict(DOMAIN))}}
