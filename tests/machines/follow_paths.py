"""The paths of the follow machine."""

from functools import partial

from tests.machines.scenario import Scenario

USUAL = {"RecordTraining": {}, "RecordDecision": {}, "RecordPromotion": {}, "RecordRejection": {}}

path = partial(Scenario, "follow", usual=USUAL)

SCENARIOS = [
    path("a run ended", sample="train-training-ended", path="WhatHappened > RecordTraining > Followed"),
    path(
        "a version was rejected",
        sample="sagemaker-model-package-state-change",
        path="WhatHappened > RecordDecision > Followed",
    ),
    path(
        "a version serves", sample="deploy-model-deployed", path="WhatHappened > RecordPromotion > Followed"
    ),
    path(
        "a version was taken out",
        sample="respond-deployment-rolled-back",
        path="WhatHappened > RecordRejection > Followed",
    ),
]
