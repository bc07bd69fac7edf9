"""`serve` of model.yaml: one of three ways, within SageMaker's limits, each mistake with line and fix."""

import botocore.session
import pytest
from evergreen import serving, spec

from tests.unit.test_spec import changed, mistakes
from tests.unit.world import BATCH, MODEL_YAML, SERVERLESS, served

SAGEMAKER = botocore.session.get_session().get_service_model("sagemaker")
INSTANCES = "instance: ml.m5.large, count: 2"
AT_ONCE = "strategy: canary, percent: 10"


def test_a_serverless_model_is_shipped_all_at_once_and_has_no_instances():
    parsed = spec.parse(served(SERVERLESS))
    assert parsed["serve"]["serverless"] == {"memory_mb": 2048, "concurrency": 5, "provisioned": None}
    assert (parsed["serve"]["instance"], parsed["serve"]["count"]) == (None, None)
    assert (serving.way(parsed["serve"]), serving.instance(parsed["serve"])) == ("serverless", None)


def test_a_batch_model_scores_each_input_as_it_comes():
    parsed = spec.parse(served(BATCH))
    assert parsed["serve"]["batch"] == {
        "instance": "ml.m5.large",
        "count": 1,
        "on": "input",
        "records": "many",
        "payload_mb": 6,
        "concurrency": 1,
    }
    assert (serving.way(parsed["serve"]), serving.instance(parsed["serve"])) == ("batch", "ml.m5.large")


def test_a_batch_model_may_have_a_schedule():
    parsed = spec.parse(served("batch: {instance: ml.m5.large, on: 'cron(0 6 * * ? *)'}"))
    assert parsed["serve"]["batch"]["on"] == "cron(0 6 * * ? *)"


# What stands instead of the instances on line 12, and what is said of it.
MISTAKES = """
serverless: {memory_mb: 2000, concurrency: 5} | serve.serverless.memory_mb: 2000 is not one of 1024, 2048
serverless: {memory_mb: 2048, concurrency: 201} | serve.serverless.concurrency: 201 is not between 1 and 200
serverless: {memory_mb: 2048} | serve.serverless.concurrency: is missing
serverless: {memory_mb: 2048, concurrency: 5, provisioned: 6} | serve.serverless.provisioned: 6 is more than
SERVERLESS, count: 2 | serve.count: is of instances
SERVERLESS, scaling: {min: 1, max: 2, invocations_per_instance: 9} | serve.scaling
SERVERLESS, batch: {instance: ml.m5.large} | serve.batch: stands beside serverless
serverless: 2048 | serve.serverless: must be a mapping
instance: ml.m5.large, batch: {instance: ml.m5.large} | serve.batch: stands beside instance
batch: {instance: m5.large} | serve.batch.instance: 'm5.large' is not an instance type
batch: {instance: ml.t2.medium} | serve.batch.instance: ml.t2.medium runs no transform jobs
batch: {instance: ml.m5.large, on: nightly} | serve.batch.on: 'nightly' is not a schedule such as
batch: {instance: ml.m5.large, payload_mb: 101} | serve.batch.payload_mb: 101 is not between 1 and 100
batch: {instance: ml.m5.large, payload_mb: 20, concurrency: 6} | serve.batch.payload_mb: 6 payloads of 20 MB
batch: {instance: ml.m5.large, records: all} | serve.batch.records: 'all' is not one of many, single
batch: {instance: ml.m5.large}, count: 2 | serve.count: is of an endpoint's instances: say serve.batch.count
entry: other.py | serve.entry: is given twice
"""


@pytest.mark.parametrize("mistake", MISTAKES.strip().splitlines())
def test_a_mistake_has_its_line_and_its_reason(mistake):
    way, found = mistake.split(" | ")
    told = mistakes(served(way.replace("SERVERLESS", SERVERLESS)))
    assert any(line.strip().startswith(f"line 12: {found}") for line in told)


def test_one_of_the_three_is_needed():
    (only,) = mistakes(changed(f", {INSTANCES}", ""))
    assert (
        only.strip() == "line 12: serve: lacks one of instance, serverless or batch: how the model is served"
    )


def test_a_mistake_within_a_way_is_told_alone():
    (only,) = mistakes(served("serverless: {memory_mb: 2000, concurrency: 5}").replace(AT_ONCE, "bake: 5m"))
    assert only.strip().startswith("line 12: serve.serverless.memory_mb: 2000 is not one of")


def test_a_serverless_model_cannot_be_shipped_by_canary():
    (only,) = mistakes(changed(INSTANCES, SERVERLESS))
    assert only.strip().startswith("line 14: ship.strategy: SageMaker shifts a serverless endpoint's traffic")
    assert "say all_at_once" in only


def test_a_serverless_version_is_watched_for_some_minutes():
    (only,) = mistakes(served(SERVERLESS).replace("bake: 10m", "bake: 1m"))
    assert only.strip().startswith("line 14: ship.bake: is too short for a serverless version")


def test_a_batch_model_has_nothing_to_ship():
    found = mistakes(changed(INSTANCES, BATCH))
    assert [line.split(": ")[1] for line in found] == [
        "ship.alarms",
        "ship.bake",
        "ship.percent",
        "ship.strategy",
    ]
    spec.parse(changed(INSTANCES, BATCH).replace(f"{AT_ONCE}, bake: 10m, alarms: ", "probation: 1d} # "))


@pytest.mark.parametrize("way", [SERVERLESS, BATCH])
def test_a_model_in_service_stays_in_its_way(way):
    text = served(way)
    spec.parse(text, served=serving.way(spec.parse(text)["serve"]))
    (only,) = mistakes(text, served="instance")
    assert only.strip().startswith("line 12: serve: the model cannot be served")
    assert only.endswith("publish it under another")


@pytest.mark.parametrize(
    ("text", "hosting", "first"),
    [
        (MODEL_YAML, "ml.m5.large", "ml.m5.large"),
        (served(SERVERLESS), "ml.c5.large", "ml.m5.large"),
        (served("batch: {instance: ml.g5.xlarge}"), "ml.c5.large", "ml.g5.xlarge"),
    ],
)
def test_a_version_is_registered_for_the_types_that_serve_it(text, hosting, first):
    found = serving.instances(spec.parse(text)["serve"], "ml.c5.large")
    assert (found["hosting"], found["transforming"][0]) == ([hosting], first)
    assert len(set(found["transforming"])) == len(found["transforming"])


def test_the_limits_are_sagemakers():
    serverless = SAGEMAKER.shape_for("ProductionVariantServerlessConfig").members
    for name, low, high in (
        ("MemorySizeInMB", min(serving.MEMORY), max(serving.MEMORY)),
        ("MaxConcurrency", 1, 200),
        ("ProvisionedConcurrency", 1, 200),
    ):
        limits = serverless[name].metadata
        assert (limits["min"], limits["max"]) == (low, high)
    types = SAGEMAKER.shape_for("TransformInstanceType").enum
    assert {each.split(".")[1] for each in types} == set(serving.TRANSFORM_FAMILIES)
