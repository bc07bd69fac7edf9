"""What a monitor found, put in order: which monitor says so, how bad it is, and in which words.

A violation is Model Monitor's: at least `feature_name` and `constraint_check_type`, mostly with a
`description`, and with `value` and `threshold` where there is a number to it.
"""

from collections.abc import Sequence
from typing import Any

Violation = dict[str, Any]

QUALITY, RULE, BIAS, ATTRIBUTION = "quality", "rule", "bias", "attribution"
DRIFT, NOTICE, SCHEMA = "drift", "notice", "schema"
# The one that says most comes first: a loss of quality is the harm itself, a rule that asks for a training is
# its owner's word, the others foretell harm. A rule that does not ask for one is a notice.
MONITORS = (QUALITY, RULE, BIAS, ATTRIBUTION, DRIFT, NOTICE, SCHEMA)
_MONITOR_OF = {
    "model_quality_check": QUALITY,
    "bias_drift_check": BIAS,
    "feature_attribution_drift_check": ATTRIBUTION,
    "data_type_check": SCHEMA,
    "missing_column_check": SCHEMA,
    "extra_column_check": SCHEMA,
    "completeness_check": SCHEMA,
    "categorical_values_check": SCHEMA,
    "range_check": SCHEMA,
    "duplicate_check": SCHEMA,
    "training_serving_skew_check": SCHEMA,
}
CUSTOM, RETRAIN = "custom_rule_check", "retrain"
# What arrives is not what the model was made for; a training would learn the break.
BROKEN = ("data_type_check", "missing_column_check", "training_serving_skew_check")
# An effect of so many times its limit is strong.
STRONG = 2.0


def monitor_of(found: Violation) -> str:
    """Which monitor a violation is from; checks that are not known (SageMaker's native monitor) count as
    drift."""
    if found["constraint_check_type"] == CUSTOM:
        return RULE if found.get("severity") == RETRAIN else NOTICE
    return _MONITOR_OF.get(found["constraint_check_type"], DRIFT)


def leading(violations: Sequence[Violation]) -> str:
    """The monitor that says most of these."""
    found = {monitor_of(violation) for violation in violations}
    return next((monitor for monitor in MONITORS if monitor in found), DRIFT)


def ailments(violations: Sequence[Violation], monitor: str) -> frozenset[str]:
    """What this monitor holds against the model, comparable over windows: `quality:log_loss`,
    `drift:origin`."""
    return frozenset(
        f"{monitor}:{found.get('feature_name')}" for found in violations if monitor_of(found) == monitor
    )


def effect(violations: Sequence[Violation], monitor: str) -> float | None:
    """The largest effect of a monitor in multiples of its limit; None where none has both numbers."""
    ratios = [
        abs(found["value"] / found["threshold"])
        for found in violations
        if monitor_of(found) == monitor
        and isinstance(found.get("value"), int | float)
        and isinstance(found.get("threshold"), int | float)
        and found["threshold"]
    ]
    return max(ratios, default=None)


def broken(violations: Sequence[Violation]) -> list[Violation]:
    """The violations that only whoever sends the data can repair."""
    return [found for found in violations if found["constraint_check_type"] in BROKEN]


def describe(violations: Sequence[dict[str, Any]]) -> str:
    """The first violations in a line, quality before everything else."""
    if not violations:
        return "violations without details"
    ordered = first_things_first(violations)
    shown = [_said(found) for found in ordered]
    more = f" and {len(shown) - 3} more" if len(shown) > 3 else ""
    return "; ".join(shown[:3]) + more


def first_things_first(violations: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Loss of quality, then what breaks a model (schema, completeness), then drift; the largest excess
    first."""
    order = {
        "model_quality_check": 0,
        "missing_column_check": 1,
        "data_type_check": 1,
        "training_serving_skew_check": 1,
        "completeness_check": 2,
    }

    def rank(found: dict[str, Any]) -> tuple[int, float, str]:
        value, threshold = found.get("value"), found.get("threshold")
        excess = (
            abs(value - threshold)
            if isinstance(value, int | float) and isinstance(threshold, int | float)
            else 0
        )
        return order.get(found["constraint_check_type"], 3), -excess, str(found.get("feature_name"))

    return sorted(violations, key=rank)


def _said(found: dict[str, Any]) -> str:
    """What was found of which column or metric, named once: many descriptions begin with it."""
    name, said = f"{found.get('feature_name')}", found.get("description") or found["constraint_check_type"]
    return said if said.startswith(f"{name} ") else f"{name}: {said}"
