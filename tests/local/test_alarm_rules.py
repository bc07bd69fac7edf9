"""When an alarm goes off: M of N, missing data, metric math; without a server."""

import pytest

from local import alarms

ABOVE_5 = {
    "AlarmName": "a", "StateValue": "OK", "Namespace": "N", "MetricName": "M", "Threshold": 5,
    "ComparisonOperator": "GreaterThanThreshold",
}  # fmt: skip


@pytest.mark.parametrize(
    ("values", "settings", "state"),
    [
        ([6, 6, 6], {"EvaluationPeriods": 3}, "ALARM"),
        ([6, 4, 6], {"EvaluationPeriods": 3}, "OK"),
        ([6, 4, 6], {"EvaluationPeriods": 3, "DatapointsToAlarm": 2}, "ALARM"),
        ([None], {}, "INSUFFICIENT_DATA"),
        ([None], {"TreatMissingData": "notBreaching"}, "OK"),
        ([None], {"TreatMissingData": "breaching"}, "ALARM"),
        ([None], {"TreatMissingData": "ignore"}, "OK"),
        ([6, None], {"EvaluationPeriods": 2, "TreatMissingData": "breaching"}, "ALARM"),
        ([6, None], {"EvaluationPeriods": 2, "TreatMissingData": "notBreaching"}, "OK"),
        ([5], {}, "OK"),
    ],
)
def test_the_state_follows_from_the_periods(
    monkeypatch: pytest.MonkeyPatch, values: list, settings: dict, state: str
) -> None:
    monkeypatch.setattr(alarms, "_plain", lambda *_: values)
    assert alarms.judge(ABOVE_5 | settings, 0.0)[0] == state


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("100 * errors / calls", 25.0),
        ("errors / nothing", None),
        ("FILL(nothing, 3) + 1", 4.0),
        ("IF(calls > 3, errors, 0)", 1.0),
        ("IF(calls > 9, errors, -1)", -1.0),
        ("SUM([errors, calls, nothing])", 5.0),
        ("calls ^ 2", 16.0),
        ("ABS(errors - calls) - 2 * calls ^ 0.5", -1.0),
        ("ABS(errors - nothing)", None),
        ("errors / zero", None),
    ],
)
def test_metric_math(expression: str, value: float | None) -> None:
    values = {"errors": 1.0, "calls": 4.0, "nothing": None, "zero": 0.0}
    assert alarms.compute(expression, values) == value


def test_metric_math_that_is_not_known_says_so() -> None:
    with pytest.raises(ValueError, match="does not know"):
        alarms.compute("(lambda: 1)()", {})
