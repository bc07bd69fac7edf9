"""The verdict on a window's columns: figures for the report, violations for whoever reacts, and beside them
what Model Monitor would have said."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from math import isfinite
from typing import Any

from jobs.contract import JobError
from jobs.monitor import checks, distances
from jobs.monitor.calibrate import FLOORS, RATE, Calibration, Shift, calibrate
from jobs.monitor.checks import Violation, violation
from jobs.monitor.columns import Column, NumberColumn
from jobs.monitor.outliers import NAME as ROWS
from jobs.monitor.outliers import RARE
from jobs.monitor.profile import Profile
from jobs.monitor.series import Series
from jobs.spec import Spec

PREDICTIONS = 0.2  # of the stated rate, for the prediction; the rest is for the features
MODEL_MONITOR = 0.1  # its default comparison_threshold
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
CHECKS = {
    "distribution": "baseline_drift_check",
    "missing": "completeness_check",
    "new": "categorical_values_check",
    "outliers": "range_check",
}
WORDS = {
    "distribution": "{effect:.1%} of the rows have moved",
    "missing": "{effect:.1%} more of the values are missing",
    "new": "{effect:.1%} of the rows have a category that the baseline never saw",
    "outliers": "{effect:.1%} more of the rows lie far outside the usual",
}


@dataclass(frozen=True)
class Settings:
    """model.yaml's `monitor.data`: `drift` (least effect, a share of rows), `false_alarms` (per window) and
    `seasonal` (columns that are shown and never drift)."""

    floor: float = FLOORS["distribution"]
    rate: float = RATE
    seasonal: tuple[str, ...] = ()

    @classmethod
    def of(cls, spec: Spec) -> Settings:
        """Raises JobError for a rate or a floor that is none."""
        chosen = spec.monitor.get("data") or {}
        made = cls(
            _share(chosen.get("drift", cls.floor), "drift"),
            _share(chosen.get("false_alarms", cls.rate), "false_alarms"),
            tuple(chosen.get("seasonal") or ()),
        )
        if not 0 < made.rate < 1:
            raise JobError(f"monitor.data.false_alarms must lie between 0 and 1, is {made.rate}")
        return made

    @property
    def floors(self) -> dict[str, float]:
        return {**FLOORS, "distribution": self.floor}


@dataclass(frozen=True)
class Verdict:
    """`features` by column, the prediction's as `prediction`; `drift` and `outliers` as in
    analysis.json."""

    features: dict[str, dict[str, Any]]
    prediction: dict[str, Any] | None
    drift: dict[str, Any]
    outliers: dict[str, Any] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)


def judge(
    train: Profile,
    window: Profile,
    settings: Settings,
    window_length: timedelta | None = None,
    holdout: Profile | None = None,
    prediction: str = "",
    extra: Collection[Series] = (),
) -> Verdict:
    """Features against the training data, the column `prediction` against the holdout's. The stated rate is
    that of both together. `extra` are series beside the features, such as outlying rows."""
    watched = prediction if holdout is not None and prediction in window.columns else ""
    rate = settings.rate * (1 - PREDICTIONS if watched else 1)
    names = [name for name in train.columns if name != watched]
    found = calibrate(
        train, window, rate, settings.floors, settings.seasonal, blocks_of(train, window_length), names, extra
    )
    shifted = [one for one in violations_of(found) if not _is_of_type(one, train, window)]
    violations = [*checks.check(train, window), *shifted]
    features = {
        name: figures(train.columns[name], window.columns.get(name), found.shifts.get(name, {}))
        | {"seasonal": name in settings.seasonal}
        for name in names
    }
    drift = found.summary() | {"false_alarm_rate": settings.rate}
    predicted = None
    if holdout is not None and watched:
        answered = calibrate(
            holdout, window, settings.rate * PREDICTIONS, settings.floors,
            length=blocks_of(holdout, window_length), columns=[watched],
        )  # fmt: skip
        predicted = figures(
            holdout.columns[watched], window.columns[watched], answered.shifts.get(watched, {})
        )
        violations += violations_of(answered)
        drift["prediction"] = answered.summary()
    rows = found.shifts.get(ROWS, {}).get("outliers")
    outliers = _described(rows) | {"usual": RARE} if rows else {}
    return Verdict(features, predicted, drift, outliers, distinct(violations))


def figures(before: Column, now: Column | None, shifts: Mapping[str, Shift]) -> dict[str, Any]:
    """One column of analysis.json. `distance`, `threshold`, `t` and `p` are of its distribution; `parts` has
    those of the others."""
    made: dict[str, Any] = {
        "type": before.field.type,
        "statistic": "ks" if isinstance(before, NumberColumn) else "linf",
        "missing_baseline": _part(before.rows - before.n, before.rows),
    }
    if now is None:
        return made
    apart = distances.between(before, now)
    made |= {
        "plain": _rounded(apart.get("linf")),
        "missing": _part(now.rows - now.n, now.rows),
        "unseen": _rounded(apart.get("new", 0.0)),
        "distances": {name: _rounded(value) for name, value in apart.items()},
        "quantiles": _quantiles(now),
        "model_monitor": model_monitor(before, now, apart),
        "parts": {part: _described(shift) for part, shift in shifts.items()},
    }
    shift = shifts.get("distribution")
    if shift is not None:
        made |= _described(shift) | {"distance": _rounded(shift.effect)}
    return made


def model_monitor(
    before: Column, now: Column, apart: Mapping[str, float], threshold: float = MODEL_MONITOR
) -> dict[str, Any]:
    """What `comparison_method` Simple and Robust say at Model Monitor's threshold. Its `KLL` distance loses
    ties; this one does not."""
    plain = apart.get("linf")
    if plain is None:
        return {}
    robust = distances.robust(plain, before.n, now.n)
    return {
        name: {"distance": _rounded(value), "threshold": threshold, "violation": bool(value > threshold)}
        for name, value in (("simple", plain), ("robust", robust))
    }


def violations_of(found: Calibration) -> list[Violation]:
    """Of every part that drifted. New categories and outliers move the distribution too: it is said once."""
    made = []
    for name, shifts in found.shifts.items():
        drifted = {part: shift for part, shift in shifts.items() if shift.drifted}
        if drifted.keys() & {"new", "outliers"} and "distribution" in drifted:
            cause = max(drifted[part].effect for part in drifted.keys() & {"new", "outliers"})
            if drifted["distribution"].effect <= cause:
                del drifted["distribution"]
        for part, shift in drifted.items():
            said = WORDS[part].format(effect=shift.effect)
            reason = (
                f"{said}: under {found.rate:.1%} of the windows without drift have that (p {shift.p:.2g})"
            )
            made.append(violation(name, CHECKS[part], reason, part, shift.effect, shift.threshold))
    return made


def _is_of_type(one: Violation, train: Profile, window: Profile) -> bool:
    """Whether values count as missing that are there, of another type: that has been said."""
    if one["constraint_check_type"] != "completeness_check":
        return False
    before, now = (side.columns[one["feature_name"]] for side in (train, window))
    return now.missing / now.rows <= before.missing / before.rows + FLOORS["missing"]


def distinct(violations: list[Violation]) -> list[Violation]:
    """One violation per column and check: the first, which needs no statistics."""
    kept: dict[tuple[str, str], Violation] = {}
    for one in violations:
        kept.setdefault((one["feature_name"], one["constraint_check_type"]), one)
    return list(kept.values())


def _described(shift: Shift) -> dict[str, Any]:
    return {
        "effect": _rounded(shift.effect),
        "effect_floor": shift.floor,
        "threshold": _rounded(shift.threshold),
        "t": round(shift.t, 3),
        "p": _rounded(shift.p),
        "drifted": shift.drifted,
    }


def _quantiles(column: Column) -> dict[str, float]:
    if not isinstance(column, NumberColumn) or not column.n:
        return {}
    values = column.quantiles.quantile([*QUANTILES])
    return {f"{share:g}": float(value) for share, value in zip(QUANTILES, values, strict=True)}


def blocks_of(reference: Profile, length: timedelta | None) -> int | None:
    """How many whole blocks of the baseline's length a window spans. The last may lack a tenth: a window
    that is its rows' own span ends before midnight."""
    if length is None or reference.blocks is None:
        return None
    return int(length / timedelta(microseconds=reference.blocks.length) + 0.1)


def _share(value: Any, name: str) -> float:
    """0.01, or 1%."""
    try:
        text = str(value).strip()
        return float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise JobError(f"monitor.data.{name} is neither a number nor a percentage: {value!r}") from None


def _part(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0


def _rounded(value: float | None) -> float | None:
    """None for what JSON has no number for."""
    return None if value is None or not isfinite(value) else round(float(value), 6)
