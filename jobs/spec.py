"""The parts of model.yaml that jobs read. The folder was checked when it was published, so that only shape is
trusted here: mistakes in meaning were reported with their lines by the onboard machine."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from jobs.contract import JobError

BINARY, MULTICLASS, REGRESSION = "binary_classification", "multiclass_classification", "regression"
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True)
class Feature:
    name: str
    type: str  # number, integer, string, boolean
    minimum: float | None = None
    maximum: float | None = None
    values: tuple[Any, ...] | None = None
    nullable: bool = False

    @property
    def is_categorical(self) -> bool:
        return self.type in ("string", "boolean")


@dataclass(frozen=True)
class Spec:
    name: str
    task: str
    target: str
    id: str
    time: str
    features: dict[str, Feature]
    entry: str  # serve.entry
    protected: tuple[str, ...] = ()
    gate: dict[str, Any] = field(default_factory=dict)
    monitor: dict[str, Any] = field(default_factory=dict)
    retrain: dict[str, Any] = field(default_factory=dict)

    @property
    def slices(self) -> tuple[str, ...]:
        return tuple(self.gate.get("slices") or ())

    @property
    def extra_columns(self) -> list[str]:
        """Columns that are no features, but by which the model is judged."""
        return [name for name in dict.fromkeys((*self.slices, *self.protected)) if name not in self.features]

    @property
    def private(self) -> frozenset[str]:
        """Columns that tell who somebody is: no reason quotes a value of theirs."""
        return frozenset((self.id, *self.protected))

    @property
    def lookback(self) -> timedelta:
        return duration(self.monitor.get("lookback", self.monitor.get("every", "1d")))


def load(folder: Path) -> Spec:
    """Reads `model.yaml` of a model's folder. Raises JobError."""
    path = folder / "model.yaml"
    try:
        content = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return _spec(content)
    except FileNotFoundError:
        raise JobError(f"the model's folder has no model.yaml ({path})") from None
    except yaml.YAMLError as error:
        raise JobError(f"model.yaml is not YAML: {error}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise JobError(f"model.yaml lacks {error}") from error


def duration(text: str | int) -> timedelta:
    """`90d`, `6h`, `10m`, `30s`, `2w`; a plain number is seconds."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhdw]?)\s*", str(text))
    if not match:
        raise JobError(f"model.yaml: {text!r} is not a duration such as 90d, 6h or 10m")
    return timedelta(**{UNITS[match[2] or "s"]: float(match[1])})


def _spec(content: dict[str, Any]) -> Spec:
    features = {name: _feature(name, entry) for name, entry in content["features"].items()}
    return Spec(
        name=content["name"],
        task=content["task"],
        target=content["target"],
        id=content["id"],
        time=content["time"],
        features=features,
        entry=content.get("serve", {}).get("entry", "inference.py"),
        protected=tuple(content.get("protected") or ()),
        gate=content.get("gate") or {},
        monitor=content.get("monitor") or {},
        retrain=content.get("retrain") or {},
    )


def _feature(name: str, entry: str | dict[str, Any]) -> Feature:
    if isinstance(entry, str):  # the short form, `distance: number`
        entry = {"type": entry}
    values = entry.get("values")
    return Feature(
        name=name,
        type=entry["type"],
        minimum=entry.get("min"),
        maximum=entry.get("max"),
        values=tuple(values) if values is not None else None,
        nullable=bool(entry.get("nullable", False)),
    )
