"""CloudWatch alarms as AWS evaluates them, and the events that their changes put on the default bus.

MiniStack judges an alarm by every series of the metric's name together; here an alarm has its dimensions, its
M of N periods, its treatment of missing data and its metric math. The periods slide and end now, on the
machine's time.
"""

import ast
import contextvars
import json
import logging
import operator
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from local import ministack
from local.machine import Machine

log = logging.getLogger(__name__)
TICK_SECONDS = 1.0
HOLD_SECONDS = (
    10.0  # a state that SetAlarmState gave lasts at least this long, as on AWS until the next evaluation
)
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
_evaluating: contextvars.ContextVar[bool] = contextvars.ContextVar("evaluating", default=False)
_held: dict[str, float] = {}  # alarm's ARN -> until when its given state is left alone


def install(host: Machine) -> None:
    def put_alarm(params: Any, data: Any, is_cbor: bool, is_json: bool = False) -> Any:
        answer = put(params, data, is_cbor, is_json)
        alarm = ministack.get("alarms").get((data or {}).get("AlarmName", ""))
        if alarm is not None and data.get("Metrics"):
            alarm["Metrics"] = data["Metrics"]
        return answer

    def alarm_changed(
        name: str, old: str, new: str, reason: str, kind: str = "MetricAlarm", data: Any = None
    ) -> None:
        changed(name, old, new, reason, kind, data)
        if old == new:
            return
        alarm = ministack.get("alarms").get(name) or ministack.get("composite_alarms").get(name)
        if alarm:
            if not _evaluating.get():
                _held[alarm["AlarmArn"]] = time.time() + HOLD_SECONDS
            host.put_event(
                "aws.cloudwatch", "CloudWatch Alarm State Change", _detail(alarm, old), [alarm["AlarmArn"]]
            )

    def watch() -> None:
        while True:
            time.sleep(TICK_SECONDS)
            for account in {account for account, *_ in list(ministack.get("alarms")._data)}:
                with ministack.scope(account, host.region):
                    for alarm in list(ministack.get("alarms").values()):
                        evaluate(alarm)

    put = ministack.replace("put_alarm", put_alarm)
    changed = ministack.replace("alarm_changed", alarm_changed)
    ministack.replace("evaluate_alarm", evaluate)
    _install_resources()
    threading.Thread(target=watch, name="alarms", daemon=True).start()


def evaluate(alarm: dict[str, Any]) -> None:
    """Moves an alarm to the state that its data say, with its actions, its event and its composite alarms."""
    if _held.get(alarm["AlarmArn"], 0) > time.time():
        return
    try:
        state, reason = judge(alarm, time.time())
    except Exception:
        log.exception("the alarm %s cannot be evaluated", alarm["AlarmName"])
        return
    old = alarm["StateValue"]
    if state == old:
        return
    alarm |= {"StateValue": state, "StateReason": reason, "StateUpdatedTimestamp": int(time.time())}
    token = _evaluating.set(True)
    try:
        ministack.get("alarm_changed")(alarm["AlarmName"], old, state, reason)
        ministack.get("alarm_actions")(alarm, old, state, reason)
        ministack.get("evaluate_parents")(alarm)
    finally:
        _evaluating.reset(token)


def judge(alarm: dict[str, Any], now: float) -> tuple[str, str]:
    """(state, reason) by the last EvaluationPeriods periods."""
    periods = int(alarm.get("EvaluationPeriods") or 1)
    needed = int(alarm.get("DatapointsToAlarm") or periods)
    values = _math(alarm, periods, now) if alarm.get("Metrics") else _plain(alarm, periods, now)
    compare, threshold = COMPARISONS[alarm["ComparisonOperator"]], float(alarm["Threshold"])
    treatment = alarm.get("TreatMissingData") or "missing"
    known = [value for value in values if value is not None]
    missing = len(values) - len(known)
    breaching = [value for value in known if compare(value, threshold)]
    if not known and treatment == "ignore":
        return alarm["StateValue"], ""
    if not known and treatment == "missing":
        return "INSUFFICIENT_DATA", "Insufficient Data: no datapoints were received"
    count = len(breaching) + (missing if treatment == "breaching" else 0)
    if count >= needed:
        shown = ", ".join(f"{value:g}" for value in breaching) or "missing data"
        what = f"{count} of the last {periods} datapoints [{shown}] breached the threshold ({threshold:g})"
        return "ALARM", f"Threshold Crossed: {what}"
    return (
        "OK",
        f"Threshold Crossed: {count} out of the last {periods} datapoints were breaching ({threshold:g})",
    )


def _plain(alarm: dict[str, Any], periods: int, now: float) -> list[float | None]:
    statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic") or "Average"
    dimensions = {d["Name"]: d["Value"] for d in alarm.get("Dimensions") or []}
    period = float(alarm.get("Period") or 60)
    return _series(alarm["Namespace"], alarm["MetricName"], dimensions, period, periods, statistic, now)


def _math(alarm: dict[str, Any], periods: int, now: float) -> list[float | None]:
    series: dict[str, list[float | None]] = {}
    expressions, returned = [], None
    for query in alarm["Metrics"]:
        if query.get("ReturnData", True):
            returned = query["Id"]
        if stat := query.get("MetricStat"):
            metric = stat["Metric"]
            dimensions = {d["Name"]: d["Value"] for d in metric.get("Dimensions") or []}
            series[query["Id"]] = _series(
                metric["Namespace"],
                metric["MetricName"],
                dimensions,
                float(stat["Period"]),
                periods,
                stat["Stat"],
                now,
            )
        else:
            expressions.append((query["Id"], query["Expression"]))
    for name, expression in expressions:
        series[name] = [
            compute(expression, {key: values[index] for key, values in series.items()})
            for index in range(periods)
        ]
    return series[returned]


def _series(
    namespace: str,
    name: str,
    dimensions: dict[str, str],
    period: float,
    periods: int,
    statistic: str,
    now: float,
) -> list[float | None]:
    """A value per period, the newest first; None where a period has no data."""
    buckets: list[list[dict]] = [[] for _ in range(periods)]
    for key, points in list(ministack.get("metrics").items()):
        if (
            key[0] != namespace
            or key[1] != name
            or not points
            or (points[0].get("Dimensions") or {}) != dimensions
        ):
            continue
        for point in reversed(points):
            age = now - point["Timestamp"]
            if age >= period * periods:
                break
            buckets[max(0, int(age // period))].append(point)
    statistics, value = ministack.get("statistics"), ministack.get("statistic")
    return [value(statistics(points), statistic, points) if points else None for points in buckets]


_OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Pow: operator.pow, ast.USub: operator.neg, ast.Eq: operator.eq, ast.NotEq: operator.ne,
    ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Lt: operator.lt, ast.LtE: operator.le,
}  # fmt: skip


def compute(expression: str, values: dict[str, float | None]) -> float | None:
    """Metric math: + - * / ^, comparisons, IF, FILL, ABS, SUM, MIN, MAX, AVG; None where data are missing."""

    def walk(node: ast.expr) -> Any:
        if isinstance(node, ast.Constant):
            return float(node.value)
        if isinstance(node, ast.Name):
            return values[node.id]
        if isinstance(node, ast.List):
            return [walk(item) for item in node.elts]
        if isinstance(node, ast.BinOp):
            return apply(_OPERATORS[type(node.op)], walk(node.left), walk(node.right))
        if isinstance(node, ast.UnaryOp):
            return apply(_OPERATORS[type(node.op)], walk(node.operand))
        if isinstance(node, ast.Compare):
            return apply(_OPERATORS[type(node.ops[0])], walk(node.left), walk(node.comparators[0]))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return function(node.func.id, [walk(argument) for argument in node.args])
        raise ValueError(f"the local CloudWatch does not know {ast.unparse(node)} in {expression!r}")

    def apply(operation: Callable[..., Any], *operands: Any) -> Any:
        try:
            return None if None in operands else float(operation(*operands))
        except ZeroDivisionError:
            return None

    def function(name: str, given: list[Any]) -> Any:
        if name == "IF":
            return given[1] if given[0] else (given[2] if len(given) > 2 else None)
        if name == "FILL":
            return given[1] if given[0] is None else given[0]
        if name == "ABS":
            return apply(abs, given[0])
        flat = [v for item in given for v in (item if isinstance(item, list) else [item]) if v is not None]
        functions = {"SUM": sum, "MIN": min, "MAX": max, "AVG": lambda found: sum(found) / len(found)}
        return functions[name](flat) if flat else None

    return walk(ast.parse(expression.replace("^", "**"), mode="eval").body)


def _detail(alarm: dict[str, Any], old: str) -> dict[str, Any]:
    """The detail of AWS's event."""
    timestamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"
    state = {"value": alarm["StateValue"], "reason": alarm.get("StateReason", ""), "timestamp": timestamp}
    configuration: dict[str, Any] = {"description": alarm.get("AlarmDescription", "")}
    if "AlarmRule" in alarm:
        configuration["alarmRule"] = alarm["AlarmRule"]
    elif alarm.get("MetricName"):
        metric = {"namespace": alarm["Namespace"], "name": alarm["MetricName"]}
        metric["dimensions"] = {d["Name"]: d["Value"] for d in alarm.get("Dimensions") or []}
        stat = {"metric": metric, "period": alarm.get("Period"), "stat": alarm.get("Statistic")}
        configuration["metrics"] = [{"id": "m1", "metricStat": stat, "returnData": True}]
    detail = {"alarmName": alarm["AlarmName"], "state": state, "configuration": configuration}
    return detail | {"previousState": {"value": old, "timestamp": timestamp}}


def _install_resources() -> None:
    """CompositeAlarm, and alarms over metric math, as CloudFormation types."""

    def create(logical_id: str, properties: dict[str, Any], stack: str) -> Any:
        return _with_metrics(plain["create"](logical_id, _named(properties), stack), properties)

    def update(name: str, old: dict, new: dict, stack: str, logical_id: str | None = None) -> Any:
        return _with_metrics(plain["update"](name, _named(old), _named(new), stack, logical_id), new)

    def create_composite(logical_id: str, properties: dict[str, Any], stack: str) -> Any:
        name = properties.get("AlarmName") or f"{stack}-{logical_id}"
        status, _, body = ministack.get("put_composite_alarm")(
            {}, properties | {"AlarmName": name}, False, True
        )
        if status >= 400:
            raise ValueError(f"AWS::CloudWatch::CompositeAlarm: {json.loads(body).get('message')}")
        return name, {"Arn": ministack.get("composite_alarms")[name]["AlarmArn"]}

    def delete_composite(name: str, properties: dict[str, Any]) -> None:
        ministack.get("delete_alarms")({}, {"AlarmNames": [name]}, False, True)

    plain = dict(ministack.get("resource_handlers")["AWS::CloudWatch::Alarm"])
    ministack.add_resource_type("AWS::CloudWatch::Alarm", **(plain | {"create": create, "update": update}))
    ministack.add_resource_type("AWS::CloudWatch::CompositeAlarm", create_composite, delete_composite)


def _named(properties: dict[str, Any]) -> dict[str, Any]:
    """MiniStack wants a metric's name of an alarm over metric math too."""
    stats = [query["MetricStat"] for query in properties.get("Metrics") or [] if query.get("MetricStat")]
    if not stats:
        return properties
    metric = stats[0]["Metric"]
    return (
        properties
        | {key: metric[key] for key in ("MetricName", "Namespace")}
        | {"Period": stats[0]["Period"]}
    )


def _with_metrics(made: tuple[str, dict[str, Any]], properties: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    if properties.get("Metrics"):
        ministack.get("alarms")[made[0]]["Metrics"] = properties["Metrics"]
    return made
