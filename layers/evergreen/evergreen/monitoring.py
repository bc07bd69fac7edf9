"""The `monitor` section of model.yaml: what may be asked of the analyser of jobs/monitor. A key that is not
there is None here, and the analyser's own default counts; docs/monitoring.md says what each of them does."""

from collections.abc import Collection
from typing import Any

import yaml

from . import units
from .schema import Key, Kind, Mistake, compose, list_of, mapping, mapping_of, scalar

MINUTE, DAY = 60, 86400
# jobs/monitor/bias_metrics.py's: AWS's names, and what Clarify reports beside them.
BIAS_METRICS = (
    "CI", "DPL", "KL", "JS", "LP", "TVD", "KS", "CDDL", "DPPL", "DI", "DCA", "DCR", "SD", "RD", "DAR", "DRR",
    "AD", "TE", "CDDPL", "GE",
)  # fmt: skip

_column = scalar(units.text(r"\S.*", "a column's name"))
_rows = scalar(units.integer(1, 10**9))
# A rarer false alarm could not be told from chance: it takes some draws of the baseline's days to see one.
_rate = scalar(units.fraction(0.0001, 0.5))
_number = scalar(units.number())


def _facets(node: yaml.Node, path: str, mistakes: list[Mistake]) -> Any:
    """Columns, or each column's groups: a list of values, a number (above it against the rest), or nothing
    for all values that there are. A list comes out as a mapping."""
    if isinstance(node, yaml.SequenceNode):
        return dict.fromkeys(filter(None, list_of(_column)(node, path, mistakes)))
    return mapping_of(_groups)(node, path, mistakes)


def _groups(node: yaml.Node, path: str, mistakes: list[Mistake]) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return list_of(scalar(units.anything))(node, path, mistakes)
    if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null":
        return None
    return _number(node, path, mistakes)


def _positive(node: yaml.Node, path: str, mistakes: list[Mistake]) -> Any:
    """The outcome that is good to have: a class, several of them, or a number that is to be exceeded."""
    kind = scalar(units.anything)
    return (list_of(kind) if isinstance(node, yaml.SequenceNode) else kind)(node, path, mistakes)


def _defaults(kind: Kind) -> Any:
    """What a section is when it is not there."""
    mistakes: list[Mistake] = []
    return kind(compose("{}", mistakes), "", mistakes)


_data = mapping(
    {
        "drift": Key(scalar(units.number(0, 1)), 0.1),
        "false_alarms": Key(_rate, None),
        "seasonal": Key(list_of(_column), []),
    }
)
_detector = mapping(
    {
        "tolerance": Key(scalar(units.number(0)), None),
        "false_alarms": Key(_rate, None),
        "block": Key(scalar(units.duration(MINUTE, 30 * DAY)), None),
        "min_rows": Key(_rows, None),
    }
)
_quality = mapping(
    {
        "metric": Key(scalar(units.text(r"\w+", "a metric's name"))),
        "tolerance": Key(scalar(units.number(0))),
        "min_labels": Key(_rows, 100),
        "detector": Key(_detector, None),
    }
)
_bias_metric = scalar(units.choice(BIAS_METRICS))
_bias = mapping(
    {
        "facets": Key(_facets, None),
        "positive": Key(_positive, None),
        "metrics": Key(list_of(_bias_metric), None),
        "limits": Key(mapping_of(scalar(units.number(0))), None),
        "drift": Key(scalar(units.number(0, 1)), None),
        "false_alarms": Key(_rate, None),
        "group": Key(_column, None),
        "min_rows": Key(_rows, None),
    }
)
_attribution = mapping(
    {
        "ndcg": Key(scalar(units.number(0, 1)), None),
        "l1": Key(scalar(units.number(0, 2)), None),
        "false_alarms": Key(_rate, None),
    }
)
_query = mapping(
    {
        "name": Key(scalar(units.text(r"\S.{0,99}", "a rule's name of at most 100 letters"))),
        "query": Key(scalar(units.text(r"(?s)\s*\S.*", "a query"))),
        "description": Key(scalar(units.text(r"(?s)\S.*", "a sentence")), None),
        "severity": Key(scalar(units.choice(("notify", "retrain"))), "notify"),
    }
)
_rules = mapping(
    {
        "python": Key(scalar(units.text(r"\w[\w./-]*\.py", "a Python file of the model's folder")), None),
        "sql": Key(list_of(_query), []),
    }
)

SECTION = mapping(
    {
        "every": Key(scalar(units.duration(MINUTE, 365 * DAY))),
        "lookback": Key(scalar(units.duration(MINUTE, 365 * DAY)), None),
        "min_rows": Key(_rows, 1000),
        "data": Key(_data, _defaults(_data)),
        "quality": Key(_quality, None),
        "bias": Key(_bias, None),
        "attribution": Key(_attribution, None),
        "rules": Key(_rules, None),
    }
)


def contradictions(monitor: dict[str, Any], spec: dict[str, Any], files: Collection[str] | None):
    """What is well formed and cannot be meant: (path, reason) pairs. A part that has a mistake is None."""
    features = spec["features"] or {}
    if monitor.get("every") and monitor["every"] % MINUTE:
        yield "monitor.every", "is not a whole number of minutes"
    for name in (monitor.get("data") or {}).get("seasonal") or ():
        if name not in features:
            yield "monitor.data.seasonal", f"{name!r} is not a feature"
    bias = monitor.get("bias") or {}
    known = {*features, *(spec["protected"] or ())}
    for name in bias.get("facets") or ():
        if name not in known:
            yield "monitor.bias.facets", f"{name!r} is neither a feature nor in `protected`"
    if bias.get("group") and bias["group"] not in known:
        yield "monitor.bias.group", f"{bias['group']!r} is neither a feature nor in `protected`"
    for name in bias.get("limits") or ():
        if name not in BIAS_METRICS:
            yield f"monitor.bias.limits.{name}", f"is not a bias metric: one of {', '.join(BIAS_METRICS)}"
    if reason := _wrong_outcome(bias.get("positive"), spec["task"]):
        yield "monitor.bias.positive", reason
    rules = monitor.get("rules") or {}
    script = rules.get("python")
    if script and files is not None and script not in files:
        yield "monitor.rules.python", f"{script} is not in the folder ({', '.join(sorted(files)) or 'empty'})"
    names = [query["name"] for query in rules.get("sql") or () if query and query["name"]]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield "monitor.rules.sql", f"two rules are called {name!r}"


def _wrong_outcome(positive: Any, task: str | None) -> str:
    """Why no label or answer of the task is `positive`: the analyser compares classes as text."""
    if positive is None or task is None:
        return ""
    outcomes = positive if isinstance(positive, list) else [positive]
    if task == "regression":
        is_number = isinstance(positive, int | float) and not isinstance(positive, bool)
        return "" if is_number else f"{positive!r} is not the number that a regression's outcome must exceed"
    if not outcomes:
        return "names no outcome"
    if task == "binary_classification":
        strange = [value for value in outcomes if str(value) not in ("0", "1")]
        return f"{strange[0]!r} is not 0 or 1, the labels of a {task}" if strange else ""
    strange = [value for value in outcomes if not isinstance(value, str | int) or isinstance(value, bool)]
    return f"{strange[0]!r} is not a class, as a text or a whole number" if strange else ""
