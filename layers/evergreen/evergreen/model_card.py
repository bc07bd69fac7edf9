"""SageMaker's own model card of a package: JSON text in the schema that the registry keeps beside a version
(Amazon SageMaker Developer Guide, "Model package model card schema"), and the part of model.yaml that only a
person can write, under the names of that schema:

    card:
      purpose_of_model: Tells the desk which flights will be late.
      risk_rating: Low
"""

import json
from collections.abc import Iterable
from typing import Any

from . import units
from .schema import Key, mapping, scalar

# ModelCardContent holds 100,000 characters; the limits below are the schema's.
ROOM = 100_000
NAME, GROUP_NAME, NOTES, TEXT, VALUE = 255, 63, 1024, 2048, 63
POINTS, MATRIX = 20, 20
MOST_GROUPS = 12
JUDGED = ("DPPL", "DI", "RD", "AD")

PARTS = {
    "intended_uses": (
        "purpose_of_model",
        "intended_uses",
        "factors_affecting_model_efficiency",
        "risk_rating",
        "explanations_for_risk_rating",
    ),
    "business_details": ("business_problem", "business_stakeholders", "line_of_business"),
    "additional_information": ("ethical_considerations", "caveats_and_recommendations"),
}
RISKS = ("Low", "Medium", "High", "Unknown")

_text = scalar(units.text(rf"(?s)\S.{{0,{TEXT - 1}}}", f"a text of at most {TEXT:,} characters"))
SECTION = mapping(
    {name: Key(_text, None) for names in PARTS.values() for name in names}
    | {"risk_rating": Key(scalar(units.choice(RISKS)), None)}
)
DEFAULT = {name: None for names in PARTS.values() for name in names}

Json = dict[str, Any]


def content(facts: Json, evaluation: Json, explanation: Json) -> str:
    """ModelCardContent. `facts` are those of `card.facts`; the others evaluation.json and explanation.json.
    Where it would be too long, the last metric groups are left out."""
    said = {
        part: {name: facts["about"][name] for name in names if facts["about"].get(name)}
        for part, names in PARTS.items()
    }
    groups = list(_groups(facts, evaluation, explanation))
    evaluated = {
        "name": "Holdout",
        "evaluation_observation": facts["judgement"]["reason"][:2096],
        "datasets": [facts["holdout_data"]],
        "metadata": _texts({"rows": evaluation["rows"]} | (facts["holdout"] or {})),
        "metric_groups": groups,
    }
    card = {
        "model_overview": {"model_creator": "Evergreen", "model_artifact": [facts["artifact"]]},
        "training_details": _training(facts),
        "evaluation_details": [evaluated],
        **said,
    }
    card["additional_information"]["custom_details"] = _texts(
        {name: facts[name] for name in ("run", "digest", "page")}
        | {
            "data_version": facts["data"]["dataVersion"],
            "cause": f"{facts['cause']['kind']}:{facts['cause']['id']}",
        }
    )
    while len(text := json.dumps(card, separators=(",", ":"))) > ROOM and groups:
        groups.pop()
    return text


def _training(facts: Json) -> Json:
    rows, span = facts["rows"] or {}, facts["train"] or {}
    observed = f"{rows.get('train')} rows from {span.get('from')} to {span.get('until')}"
    observed += f"; asked for by {facts['cause']['by']} ({facts['cause']['kind']} {facts['cause']['id']})"
    parameters = [
        {"name": name[:NAME], "value": value[:NAME]}
        for name, value in facts["hyperparameters"].items()
        if value
    ]
    return {
        "training_observations": observed[:1024],
        "training_job_details": {
            "training_datasets": [facts["training_data"]],
            "training_environment": {"container_image": [facts["image"]]},
            "hyper_parameters": parameters[:100],
        },
    }


def _groups(facts: Json, evaluation: Json, explanation: Json) -> Iterable[Json]:
    """What is read first comes first: what is left out for length is at the end."""
    ours = evaluation["challenger"]
    yield _group("this model", _figures(ours["metrics"]))
    yield _group("gate", [_check(check) for check in facts["judgement"]["checks"]])
    for name, side in (
        ("champion", evaluation.get("champion")),
        ("best constant", evaluation.get("constant")),
    ):
        if side:
            yield _group(name, _figures(side["metrics"]))
    if evaluation.get("difference"):
        yield _group("difference to the champion", _figures(evaluation["difference"]))
    yield _group("feature attribution", [_number(*pair) for pair in explanation["shares"].items()])
    yield _group("serving", [_number(*pair) for pair in (evaluation["serving"]["challenger"] or {}).items()])
    yield _group("curves", _curves(ours))
    for column, parts in ours["slices"].items():
        primary = evaluation["primary"]
        figures = {value: part["metrics"].get(primary) or {} for value, part in parts.items()}
        yield _group(f"{primary} by {column}", _figures(figures))
    groups = sorted(ours["bias"], key=lambda group: -ours["bias"][group]["rows"])[:MOST_GROUPS]
    for group in groups:
        figures = ours["bias"][group]["metrics"]
        yield _group(f"bias {group}", _figures({name: figures[name] for name in JUDGED if name in figures}))


def _group(name: str, metrics: Iterable[Json | None]) -> Json:
    return {"name": name[:GROUP_NAME], "metric_data": [metric for metric in metrics if metric]}


def _figures(figures: Json) -> list[Json | None]:
    return [_number(name, figure.get("value"), _interval(figure)) for name, figure in figures.items()]


def _number(name: str, value: Any, notes: str = "") -> Json | None:
    if value is None:
        return None
    return {"name": name[:NAME], "type": "number", "value": value} | ({"notes": notes} if notes else {})


def _interval(figure: Json) -> str:
    if figure.get("low") is None or figure.get("high") is None:
        return ""
    return f"95 % interval {figure['low']:.6g} to {figure['high']:.6g}"


def _check(check: Json) -> Json:
    name = " ".join(filter(None, (check["check"], check.get("metric"), check.get("where"))))
    return {"name": name[:NAME], "type": "boolean", "value": check["passed"], "notes": check["text"][:NOTES]}


def _curves(side: Json) -> Iterable[Json]:
    """Graphs of at most POINTS points, which SageMaker's other schema allows too."""
    curves = side.get("curves") or {}
    calibration = [[point["predicted"], point["actual"]] for point in curves.get("calibration") or ()]
    for name, points, axes in (
        ("ROC", curves.get("roc"), ("false positive rate", "true positive rate")),
        ("precision and recall", curves.get("pr"), ("recall", "precision")),
        ("calibration", calibration, ("predicted", "came true")),
    ):
        if points:
            graph = {"name": name, "type": "linear_graph", "value": _thinned(points)}
            yield graph | {"x_axis_name": axes[0], "y_axis_name": axes[1]}
    counts = side.get("confusion")
    if counts and len(counts["labels"]) <= MATRIX:
        labels = [str(label)[:VALUE] for label in counts["labels"]]
        table = {"name": "confusion (true class by predicted)", "type": "matrix", "value": counts["rows"]}
        yield table | {"x_axis_name": labels, "y_axis_name": labels}


def _thinned(points: list[list[float]]) -> list[list[float]]:
    if len(points) <= POINTS:
        return points
    last = len(points) - 1
    return [points[round(place * last / (POINTS - 1))] for place in range(POINTS)]


def _texts(values: Json) -> dict[str, str]:
    return {name: str(value)[:NOTES] for name, value in values.items() if value is not None}
