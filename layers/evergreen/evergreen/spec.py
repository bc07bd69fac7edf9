"""model.yaml: everything the loop needs to know about a model, checked when its folder is published.

`parse` returns plain data (what the ledger keeps as JSON): durations in seconds, shares as fractions, every
default filled in. All mistakes are reported at once, each with its line:

    model.yaml has 2 mistakes:
      line 12: gate.floor: 1.7 is not between 0 and 1
      line 20: serv: is not a key here; did you mean serve?
"""

import functools
import itertools
import math
from collections.abc import Callable, Collection
from typing import Any

from . import budget, gating, metrics, model_card, monitoring, serving, shipping, tuning, units
from .errors import SpecInvalid
from .names import MODEL
from .schema import Key, Kind, Mistake, compose, find, is_given, list_of, mapping, mapping_of, scalar

MINUTE, HOUR, DAY = 60, 3600, 86400
# Keys that name a column each.
ROLES = ("target", "id", "time")
CAUSES = ("violation", "data")
SOURCES = ("base", "captured")
# Seconds: the train machine gives a run 25 h, an hour of which is for instances to start.
LONGEST = 24 * HOUR

_name = scalar(units.text(MODEL.pattern, "a name of at most 20 small letters, digits and inner dashes"))
_column = scalar(units.text(r"\S.*", "a column's name"))
_entry = scalar(units.text(r"\w[\w./-]*\.py", "a Python file of the model's folder"))
_instance = scalar(units.text(r"ml\.[a-z0-9-]+\.[a-z0-9]+", "an instance type such as ml.m5.large"))
_image = scalar(units.text(r"\S{1,255}", "an image URI"))
_instances = scalar(units.integer(1, 100))
_volume = scalar(units.integer(1, 16384))
_rows = scalar(units.integer(1, 10**9))
_timeout = scalar(units.duration(MINUTE, 22 * HOUR))
_span = scalar(units.duration(HOUR, 3650 * DAY))


def _feature(node, path: str, mistakes: list[Mistake]) -> Any:
    """`distance: number` is short for `distance: {type: number}`."""
    kind = mapping(
        {
            "type": Key(scalar(units.choice(("number", "integer", "string", "boolean")))),
            "min": Key(scalar(units.number()), None),
            "max": Key(scalar(units.number()), None),
            "values": Key(list_of(scalar(units.anything)), None),
            "nullable": Key(scalar(units.boolean), False),
        }
    )
    if node.id != "scalar":
        return kind(node, path, mistakes)
    name = scalar(units.choice(("number", "integer", "string", "boolean")))(node, path, mistakes)
    return {"type": name, "min": None, "max": None, "values": None, "nullable": False}


def _defaults(kind: Kind) -> Any:
    """What a section is when it is not there."""
    mistakes: list[Mistake] = []
    return kind(compose("{}", mistakes), "", mistakes)


_processing = mapping(
    {
        "instance": Key(_instance, "ml.m5.large"),
        "volume_gb": Key(_volume, 30),
        "timeout": Key(scalar(units.duration(MINUTE, 12 * HOUR)), HOUR),
    }
)
_retrain = mapping(
    {
        "schedule": Key(scalar(units.schedule), None),
        "on": Key(list_of(scalar(units.choice(CAUSES))), ["violation"]),
        "cool_down": Key(scalar(units.duration(0, 365 * DAY)), 6 * HOUR),
        "per_day": Key(scalar(units.integer(1, 100)), 2),
        "repeat": Key(scalar(units.integer(1, 100)), 2),
        "budget": Key(scalar(units.limit(0.01)), 100),
        "give_up_after": Key(scalar(units.integer(1, 100)), 2),
        "data": Key(list_of(scalar(units.choice(SOURCES))), ["base"]),
        "window": Key(_span, None),
        "min_rows": Key(_rows, None),
    }
)

_MODEL = mapping(
    {
        "name": Key(_name),
        "task": Key(scalar(units.choice(tuple(metrics.TASKS)))),
        "target": Key(_column),
        "id": Key(_column),
        "time": Key(_column),
        "protected": Key(list_of(_column), []),
        "features": Key(mapping_of(_feature)),
        "train": Key(
            mapping(
                {
                    "entry": Key(_entry, "train.py"),
                    "image": Key(_image, None),
                    "instance": Key(_instance),
                    "count": Key(_instances, 1),
                    "volume_gb": Key(_volume, 30),
                    "timeout": Key(_timeout, HOUR),
                    "hyperparameters": Key(mapping_of(scalar(units.anything)), {}),
                    "tune": Key(tuning.SECTION, None),
                }
            )
        ),
        "serve": Key(serving.SECTION),
        "processing": Key(_processing, _defaults(_processing)),
        "gate": Key(gating.SECTION),
        "ship": Key(shipping.SECTION, shipping.DEFAULT),
        "monitor": Key(monitoring.SECTION),
        "retrain": Key(_retrain, _defaults(_retrain)),
        "card": Key(model_card.SECTION, model_card.DEFAULT),
    }
)


def parse(
    text: str,
    *,
    folder: str | None = None,
    files: Collection[str] | None = None,
    served: str | None = None,
    server: str = "",
) -> dict[str, Any]:
    """The specification in `text`. `folder` is the name it was published under, `files` what lies beside it,
    `served` the way in which the version in service is and `server` the account that serves, where another
    one trains: where they are given they are checked against it. Raises SpecInvalid."""
    mistakes: list[Mistake] = []
    root = compose(text, mistakes)
    spec = _MODEL(root, "", mistakes) if root else None
    if isinstance(spec, dict):
        wrong = {mistake.path for mistake in mistakes}
        given = functools.partial(is_given, root)
        found = itertools.chain(_contradictions(spec, folder, files, served, given), _apart(spec, server))
        for path, reason in found:
            # A mistake of its own kind comes first: what depends on it would only repeat it.
            if path not in wrong:
                mistakes.append(Mistake(find(root, path.split(".")), path, reason))
    if mistakes:
        raise SpecInvalid(_message(mistakes))
    spec["monitor"]["lookback"] = spec["monitor"]["lookback"] or spec["monitor"]["every"]
    return spec


def _message(mistakes: list[Mistake]) -> str:
    count = "a mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
    return "\n  ".join([f"model.yaml has {count}:", *map(str, sorted(mistakes))])


def _contradictions(
    spec: dict[str, Any],
    folder: str | None,
    files: Collection[str] | None,
    served: str | None,
    given: Callable[[str], bool],
):
    """What is well formed and cannot be meant: (path, reason) pairs. A part that has a mistake is None
    here."""
    if folder and spec["name"] and spec["name"] != folder:
        yield "name", f"{spec['name']!r} was published under models/{folder}/"
    features = spec["features"] or {}
    yield from _roles(spec)
    if spec["features"] == {}:
        yield "features", "names no column"
    if spec["target"] in features:
        yield f"features.{spec['target']}", "is the target: a model must not see it"
    for name, feature in features.items():
        if feature:
            yield from _feature_contradictions(f"features.{name}", feature)
    for section in ("train", "serve"):
        entry = (spec[section] or {}).get("entry")
        if entry and files is not None and entry not in files:
            yield f"{section}.entry", f"{entry} is not in the folder ({', '.join(sorted(files)) or 'empty'})"
    if served and spec["serve"] and (reason := serving.other_way(spec["serve"], served)):
        yield "serve", reason
    if spec["task"]:
        yield from _metric_contradictions(spec["task"], spec["monitor"] or {})
    if spec["task"] and spec["gate"]:
        yield from gating.contradictions(spec["gate"], spec, given)
    if spec["ship"]:
        yield from shipping.contradictions(spec["ship"], spec["serve"] or {}, spec["task"])
    if spec["ship"] and spec["serve"]:
        yield from serving.contradictions(spec["serve"], spec["ship"], given)
    if (spec["train"] or {}).get("tune"):
        yield from tuning.contradictions(spec["train"], spec["task"])
    jobs = [(spec["train"] or {}).get(key) for key in ("instance", "count", "timeout")]
    if spec["processing"] and all([*jobs, spec["processing"]["instance"], spec["processing"]["timeout"]]):
        yield from _run_contradictions(spec)
    if (spec["retrain"] or {}).get("data") == []:
        yield "retrain.data", f"names no source: some of {', '.join(SOURCES)}"
    yield from monitoring.contradictions(spec["monitor"] or {}, spec, files)


def _roles(spec: dict[str, Any]):
    """A column that is two things at once."""
    for place, role in enumerate(ROLES):
        same = [other for other in ROLES[:place] if spec[role] and spec[other] == spec[role]]
        if same:
            yield role, f"{spec[role]!r} is the {same[0]} already"


def _apart(spec: dict[str, Any], server: str):
    """What cannot be where one account trains and another serves."""
    data = (spec["retrain"] or {}).get("data") or []
    if server and "captured" in data:
        fix = "bring what is to be learned as files under datasets/, and leave captured out"
        yield "retrain.data", f"captured requests stay in account {server}, which serves: {fix}"


def _feature_contradictions(path: str, feature: dict[str, Any]):
    low, high = feature["min"], feature["max"]
    if low is not None and high is not None and low > high:
        yield f"{path}.min", f"{low:g} is more than max, {high:g}"
    bounded = low is not None or high is not None
    if bounded and feature["type"] in ("string", "boolean"):
        yield f"{path}.type", f"a {feature['type']} has no min or max"
    if feature["values"] == []:
        yield f"{path}.values", "allows nothing"
    for place, value in enumerate(feature["values"] or ()):
        if value is not None and feature["type"] and not _is_of(feature["type"], value):
            fix = ": put it in quotes" if feature["type"] == "string" else ""
            yield f"{path}.values", f"entry {place + 1}, {value}, is no {feature['type']}{fix}"


def _is_of(kind: str, value: Any) -> bool:
    """Whether YAML read a value of that type: it takes NO for false, and 007 for 7."""
    if kind == "string":
        return isinstance(value, str)
    if kind == "boolean":
        return isinstance(value, bool)
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return is_number and (kind == "number" or float(value).is_integer())


def _metric_contradictions(task: str, monitor: dict[str, Any]):
    name = (monitor.get("quality") or {}).get("metric")
    if name and name not in metrics.TASKS[task]:
        known = ", ".join(metrics.TASKS[task])
        yield "monitor.quality.metric", f"{name!r} is not a metric of {task}: one of {known}"


def _run_contradictions(spec: dict[str, Any]):
    """A run that fits into its machine's time, and a budget that can be kept and pays for it."""
    trains, once = tuning.longest(spec["train"]), spec["processing"]["timeout"]
    if trains <= tuning.LONGEST and trains + budget.PROCESSING_JOBS * once > LONGEST:
        jobs = f"{units.spoken(trains)} to train and twice {units.spoken(once)} to prepare and to evaluate"
        yield "processing.timeout", f"{jobs} may be longer than a run may take ({units.spoken(LONGEST)})"
    limit = (spec["retrain"] or {}).get("budget")
    if not limit:
        return
    for path, instance in budget.unpriced(spec).items():
        yield path, f"{instance} has no price: add it to prices.yaml, or set retrain.budget: none"
    if not budget.unpriced(spec) and (most := budget.reserve(spec)) > limit:
        reason = f"one training may cost {most:.2f} USD within its time limits"
        yield "retrain.budget", f"{limit:g} USD a month is too little: {reason}"
