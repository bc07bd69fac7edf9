"""The metrics that jobs/evaluate computes for each task: which way is better, and what values they can
have."""

import math
from typing import NamedTuple


class Metric(NamedTuple):
    """`low` and `high` bound its values, both included."""

    higher_is_better: bool
    low: float
    high: float

    def bounds(self) -> str:
        """The bounds in words."""
        if self.high == math.inf:
            return f"{self.low:g} or more"
        return (
            f"{self.high:g} or less" if self.low == -math.inf else f"between {self.low:g} and {self.high:g}"
        )


_SHARE = Metric(True, 0, 1)
_LOSS = Metric(False, 0, math.inf)

TASKS: dict[str, dict[str, Metric]] = {
    "binary_classification": {
        **dict.fromkeys(("roc_auc", "pr_auc", "accuracy", "precision", "recall", "f1"), _SHARE),
        "log_loss": _LOSS,
        "brier": Metric(False, 0, 1),
    },
    "multiclass_classification": {
        **dict.fromkeys(("roc_auc", "accuracy"), _SHARE),
        **{
            f"{name}_{average}": _SHARE
            for name in ("precision", "recall", "f1")
            for average in ("macro", "weighted")
        },
        "log_loss": _LOSS,
    },
    "regression": {"rmse": _LOSS, "mae": _LOSS, "r2": Metric(True, -math.inf, 1)},
}
