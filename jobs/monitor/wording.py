"""How the monitor speaks: numbers, shares, the verdict in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

QUALITY = "model_quality_check"
DRIFT = "baseline_drift_check"
BIAS = "bias_drift_check"
ATTRIBUTION = "feature_attribution_drift_check"
LONGEST = 40  # letters of a name
TURNS = dict.fromkeys((0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)))
PREDICTION = "prediction"  # what the answers are called among the features
BROKEN = {
    "missing_column_check": "columns are missing: {names}",
    "extra_column_check": "columns are new: {names}",
    "data_type_check": "values of another type in {names}",
    "completeness_check": "values are missing in {names}",
    "categorical_values_check": "unknown values in {names}",
    "range_check": "values far out in {names}",
    "duplicate_check": "rows repeat",
    "training_serving_skew_check": "the pipeline computed other values of {names}",
}
# Each is the beginning of a sentence, and says which columns.
SAID = {
    QUALITY: "the model errs more than it did",
    **BROKEN,
    DRIFT: "drift beyond the baseline's own days in {names}",
    ATTRIBUTION: "the model bases its answers on other features than it did, most of all on {names}",
    BIAS: "groups of {names} are treated less alike than at the baseline",
}
# What a window is called by the worst that was found in it.
BADGES = {
    "NoData": ("nothing to say", "quiet"),
    "TooFewRows": ("too few rows", "quiet"),
    QUALITY: ("the model got worse", "bad"),
    "broken": ("the data is not what it was", "bad"),
    "rule": ("a rule was broken", "warn"),
    DRIFT: ("the inputs have moved", "warn"),
    PREDICTION: ("the predictions have moved", "warn"),
    ATTRIBUTION: ("the model looks elsewhere", "warn"),
    BIAS: ("groups have grown apart", "warn"),
    "": ("in order", "good"),
}


def badge(analysis: dict[str, Any]) -> tuple[str, str]:
    """(words, style) of the verdict."""
    if analysis["status"] != "Completed":
        return BADGES[analysis["status"]]
    checks = {found["constraint_check_type"] for found in analysis["violations"]}
    if QUALITY in checks:
        return BADGES[QUALITY]
    moved = {
        "broken" if found["constraint_check_type"] in BROKEN else DRIFT
        for found in analysis["violations"]
        if found["constraint_check_type"] in (*BROKEN, DRIFT) and found["feature_name"] != PREDICTION
    }
    for style in ("broken", DRIFT):
        if style in moved:
            return BADGES[style]
    if checks & {*BROKEN, DRIFT}:
        return BADGES[PREDICTION]
    for check in (ATTRIBUTION, BIAS):
        if check in checks:
            return BADGES[check]
    return BADGES["rule"] if checks else BADGES[""]


def verdict(analysis: dict[str, Any]) -> str:
    """The window in a sentence, and how good the model was in another."""
    return " ".join(filter(None, sentences(analysis)))


def sentences(analysis: dict[str, Any]) -> tuple[str, str]:
    """What the window is, the worst first; how good the model was, where there was anything to judge."""
    rows = f"{grouped(analysis['rows'])} {plural(analysis['rows'], 'row')}"
    if analysis["status"] == "NoData":
        broken = analysis.get("skipped_lines")
        said = f": {grouped(broken)} {plural(broken, 'line')} could not be read" if broken else ""
        return f"No request was captured in the window{said}.", ""
    if analysis["status"] == "TooFewRows":
        are = "is" if analysis["rows"] == 1 else "are"
        return f"{rows} {are} too few to judge: {grouped(analysis['min_rows'])} are needed.", ""
    found = analysis["violations"]
    if not found:
        return _in_order(rows, analysis.get("drift") or {}).strip(), _quality(analysis)
    parts = []
    for check, words in SAID.items():
        names = unique(one["feature_name"] for one in found if one["constraint_check_type"] == check)
        if names:
            parts.append(words.format(names=listed(names)))
    rules = unique(one["feature_name"] for one in found if one["constraint_check_type"] not in SAID)
    if rules:
        parts.append(f"{plural(len(rules), 'rule')} broken: {listed(rules)}")
    said = "; ".join(parts)
    return f"{said[0].upper()}{said[1:]}.", _quality(analysis)


def _in_order(rows: str, drift: dict[str, Any]) -> str:
    """What was looked at, where nothing was found: drift is not always judged, and not always by days."""
    method = drift.get("method", "blocks")
    if method in ("blocks", "tail"):
        return f"Nothing in {rows} differs from the baseline by more than its own days do."
    if method == "rows":
        return f"Nothing in {rows} differs from the baseline by more than chance. {drift.get('note', '')}"
    return f"No value in {rows} breaks a rule; drift was not judged. {drift.get('note', '')}"


def _quality(analysis: dict[str, Any]) -> str:
    name = analysis.get("watched")
    figure = analysis["quality"].get(name) if name else None
    if not figure or figure.get("value") is None:
        return _unmeasured(analysis, name)
    then = figure.get("baseline")
    beside = "" if then is None else f", {number(then)} at the baseline"
    beside += _tolerated(analysis, name, figure["value"])
    return f"{words(name)} is {interval(figure)} on {grouped(analysis['labelled'])} labelled rows{beside}."


def _unmeasured(analysis: dict[str, Any], name: str | None) -> str:
    """Why there is no figure: labels that help nobody are no labels that are yet to come."""
    few, counted = analysis["labelled"], analysis.get("labels") or {}
    if few == 1:
        return "1 label is known."
    if few:
        undefined = f", on which {words(name)} is not defined" if name else ""
        return f"{grouped(few)} labels are known{undefined}."
    for cause, said in (
        ("unusable", "None of {} labels can be used."),
        ("unscored", "None of {} rows with a label has an answer that can be compared with it."),
        ("unknown", "None of {} labels has the id of a row."),
    ):
        if counted.get(cause):
            return said.format(grouped(counted[cause]))
    return "No label is known yet."


def _tolerated(analysis: dict[str, Any], name: str, value: float) -> str:
    """A loss that is no violation only because its interval is wide: nobody should read it as in order."""
    found = analysis.get("detector") or {}
    if found.get("loss") != name or any(one.get("metric") == name for one in analysis["violations"]):
        return ""
    limit = found["baseline"] + found["tolerance"]
    return f": over the {number(limit)} that is tolerated, but not surely" if value > limit else ""


def words(metric: str) -> str:
    """`log_loss` as `Log loss`, `roc_auc` as `ROC AUC`."""
    known = {"roc_auc": "ROC AUC", "pr_auc": "PR AUC", "rmse": "RMSE", "mae": "MAE", "r2": "R²", "f1": "F1"}
    known |= {"ece": "ECE", "mape": "MAPE", "adjusted_r2": "Adjusted R²", "squared": "Squared error"}
    known |= {"absolute": "Absolute error"}
    return known.get(metric, metric.replace("_", " ").capitalize())


def number(value: float | None) -> str:
    """Three figures after the point for what is near one; fewer or more for what is not."""
    if value is None:
        return "n/a"
    size = abs(value)
    if size >= 1e15:
        return f"{value:.3g}"
    if size >= 1000:
        return f"{value:,.0f}".replace(",", "\u202f")
    if size >= 100:
        return f"{value:.1f}".removesuffix(".0")
    if size >= 10:
        return f"{value:.2f}".removesuffix(".00")
    if size >= 0.001 or value == 0:
        return f"{value:z.0f}" if float(value).is_integer() else f"{value:.3f}"
    return f"{value:.1e}"


def short(value: float) -> str:
    """For the axis of a plot."""
    if value and not 0.001 <= abs(value) < 1e7:
        return f"{value:.2g}"
    return grouped(value) if abs(value) >= 1000 else f"{value:.4g}"


def percent(share: float | None) -> str:
    if share is None:
        return "n/a"
    if 0 < share < 0.001:
        return "<0.1\u202f%"
    return f"{100 * share:.1f}\u202f%" if share < 0.0995 else f"{100 * share:.0f}\u202f%"


def interval(figure: dict[str, Any]) -> str:
    """`{"value", "low"?, "high"?}` as `0.726 (0.715 to 0.737)`."""
    if figure.get("low") is None or figure.get("high") is None:
        return number(figure.get("value"))
    return f"{number(figure['value'])} ({number(figure['low'])} to {number(figure['high'])})"


def grouped(count: float) -> str:
    return f"{count:,.0f}".replace(",", "\u202f")


def plural(count: int, word: str) -> str:
    return word if count == 1 else f"{word}s"


def brief(name: str) -> str:
    """A column or a category in a sentence, which its controls of direction must not turn around."""
    name = name.translate(TURNS)
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def listed(names: Sequence[str], most: int = 4) -> str:
    """`a, b and c`; `a, b, c, d and 7 more`."""
    names = [brief(name) for name in names]
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else ""


def unique(names: Any) -> list[str]:
    return list(dict.fromkeys(names))


def day(text: str) -> str:
    moment = when(text)
    clock = f" {moment:%H:%M}" if (moment.hour, moment.minute) != (0, 0) else ""
    return f"{moment.day} {moment:%b %Y}{clock}"


def when(text: str) -> datetime:
    parsed = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
