"""A run whose challenger has passed, as WriteCard is told of it."""

from typing import Any

from evergreen import card, model_card

from tests.unit import world
from tests.unit.exam import evaluation, group
from tests.unit.world import cause

RUN = "flights-0000000001"
FOLDER = f"runs/{RUN}"
EXPLANATION = {
    "explanations": {},
    "method": "shap_sampled",
    "rows": 750,
    "shares": {"distance": 0.7, "temp": 0.3},
}
CHECKS = [
    {
        "check": "floor",
        "passed": True,
        "text": "roc_auc 0.72 reaches the floor",
        "where": "",
        "metric": "roc_auc",
    },
    {
        "check": "slices",
        "passed": False,
        "text": "<worse> on JFK",
        "where": "origin=JFK",
        "metric": "roc_auc",
    },
]
EVENT = {
    "plan": {
        "model": "flights",
        "run": RUN,
        "cause": cause(),
        "digest": world.DIGEST,
        "image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/evergreen-jobs:1",
        "spec": {
            "instance": "ml.m5.large",
            "count": 1,
            "hyperparameters": {"iterations": "80", "rate": "0.1", "sagemaker_program": "train.py"},
        },
        "champion": None,
    },
    "data": {"dataVersion": "77f01c4be9d2", "files": 3, "bytes": 2_733_612},
    "validation": {
        "rows": {"read": 82_000, "train": 63_796, "holdout": 1000},
        "train": {"from": "2013-01-01T00:00:00Z", "until": "2013-02-14T23:59:00Z"},
        "holdout": {"from": "2013-02-15T00:00:00Z", "until": "2013-02-28T23:59:00Z"},
    },
    "artifact": f"s3://bucket/{FOLDER}/model/model.tar.gz",
    "tuned": None,
    "judgement": {
        "passed": True,
        "reason": "roc_auc 0.72 is enough",
        "checks": CHECKS,
        "figures": {"rows": 1000},
    },
}


def facts() -> dict[str, Any]:
    """Of a model that nobody has described."""
    return card.facts(EVENT, "bucket", model_card.DEFAULT)


def whole() -> dict[str, Any]:
    """An evaluation that has each part."""
    judged = evaluation(0.72, 0.70, bias={"carrier=UA": group(DPPL=0.1, DI=0.8, GE=0.2)})
    judged["challenger"] |= {
        "slices": {"origin": {"JFK": {"rows": 500, "metrics": {"roc_auc": {"value": 0.7}}}}},
        "confusion": {"labels": ["0", "1"], "rows": [[7, 1], [2, 3]]},
        "curves": {
            "roc": [[step / 100, step / 100] for step in range(101)],
            "pr": None,
            "calibration": [{"predicted": 0.1, "actual": 0.2, "rows": 5}],
        },
    }
    return judged
