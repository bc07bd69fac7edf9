"""Names fit into what SageMaker allows, whatever the stack and the model are called."""

import re

import botocore.session
import pytest
from evergreen import batches, names
from evergreen.events import Cause

SAGEMAKER = botocore.session.get_session().get_service_model("sagemaker")
STACK, MODEL = "p" * 18, "m" * 20  # docs/operating.md, and names.MODEL
RUN = names.run(MODEL, "violation:1")
BATCH = batches.id(MODEL, Cause("input", "rows.jsonl", "2013-06-01T00:00:00Z", "s3"))
DEPLOYMENT = names.deployment(STACK, MODEL, 99_999, "an approval")
# As the state machines write them.
LONGEST = {
    "TrainingJobName": f"{STACK}-{RUN}-train",
    "HyperParameterTuningJobName": names.tuning(STACK, RUN),
    "ProcessingJobName": f"{STACK}-{RUN}-evaluate",
    "TransformJobName": f"{STACK}-{BATCH}-score",
    "EntityName": names.endpoint(STACK, MODEL),  # of a model package group
    "ModelName": DEPLOYMENT,
    "VariantName": DEPLOYMENT,  # of a serverless endpoint
    "EndpointName": f"{DEPLOYMENT}-staging",
    "EndpointConfigName": f"{DEPLOYMENT}-staging",
}


@pytest.mark.parametrize(("shape", "name"), LONGEST.items())
def test_the_longest_name_fits(shape: str, name: str) -> None:
    assert len(name) <= SAGEMAKER.shape_for(shape).metadata["max"]


def test_a_model_has_at_most_twenty_letters() -> None:
    assert names.MODEL.fullmatch(MODEL) and not names.MODEL.fullmatch(f"{MODEL}m")


@pytest.mark.parametrize("model", ["a", "flights-", "a-", "late--flights", "7up", "-a"])
def test_sagemaker_takes_the_endpoint_of_each_model_that_is_named_well(model: str) -> None:
    pattern = SAGEMAKER.shape_for("EndpointName").metadata["pattern"]
    takes = re.fullmatch(pattern, names.endpoint(STACK, model)) is not None
    assert not names.MODEL.fullmatch(model) or takes


def test_an_alarm_tells_its_deployment() -> None:
    for model in ("a", "late-v1-flights", MODEL):
        name = names.deployment(STACK, model, 7, "an approval")
        for alarm in names.alarms(name, answers=True):
            assert names.parse_alarm(STACK, alarm) == (name, model, 7)
