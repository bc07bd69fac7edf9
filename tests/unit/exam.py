"""evaluation.json as jobs/evaluate writes it, in the parts that are judged."""

from typing import Any

SERVING = {"requests": 300, "p50_ms": 1.5, "p99_ms": 4.2, "artifact_bytes": 21_237, "unpacked_bytes": 60_731}


def figure(value: float | None, error: float = 0.01) -> dict[str, float | None]:
    if value is None:
        return {"value": None, "low": None, "high": None}
    return {"value": value, "low": value - 2 * error, "high": value + 2 * error}


def gain(value: float | None, error: float = 0.005) -> dict[str, float | None]:
    """`at_least` at a confidence of 0.9, of ten days or so."""
    at_least = None if value is None else value - 1.4 * error
    return figure(value, error) | {"at_least": at_least}


def part(lost: float, rows: int = 500, chance: float = 0.001) -> dict[str, Any]:
    """A slice on which the challenger loses so much of the primary metric."""
    return {"rows": rows, **figure(-lost), "chance": chance}


def group(rows: int = 500, rest: int = 9500, chance: float = 0.0001, **metrics: float) -> dict[str, Any]:
    """A group of the protected columns, with the value of each metric."""
    found = {name: figure(value) | {"chance": chance} for name, value in metrics.items()}
    return {"rows": rows, "rest": rest, "metrics": found}


def evaluation(
    challenger: float | None = 0.72,
    champion: float | None = None,
    rows: int = 1000,
    *,
    name: str = "roc_auc",
    constant: float = 0.5,
    error: float = 0.005,
    slices: dict[str, dict[str, Any]] | None = None,
    bias: dict[str, Any] | None = None,
    serving: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """`name` is a metric of which more is better; `error`: the standard error of the gain."""

    def over(other: float | None) -> dict[str, float | None]:
        return gain(None if challenger is None or other is None else challenger - other, error)

    def side(value: float | None) -> dict[str, Any]:
        metrics = {name: figure(value)}
        metrics.setdefault("log_loss", figure(0.5))  # by which world.MODEL_YAML watches
        return {"metrics": metrics, "slices": {}, "bias": bias or {}}

    return {
        "task": "binary_classification",
        "primary": name,
        "confidence": 0.9,
        "rows": rows,
        "blocks": 14,
        "from": "2013-02-15T00:00:00Z",
        "until": "2013-02-28T23:59:00Z",
        "trained_until": {
            "challenger": "2013-02-14T23:59:00Z",
            "champion": "2013-01-31T00:00:00Z" if champion else None,
        },
        "challenger": side(challenger),
        "champion": side(champion) if champion else None,
        "constant": {"prediction": "the training rows' shares", "metrics": {name: figure(constant)}},
        "difference": {} if champion else None,
        "gains": {
            "constant": over(constant),
            "champion": over(champion) if champion else None,
            "slices": slices or {},
        },
        "serving": {"challenger": SERVING | (serving or {}), "champion": None},
        "notes": [],
    } | more
