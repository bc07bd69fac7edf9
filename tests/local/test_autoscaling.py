"""Application Auto Scaling over a fake endpoint."""

from typing import Any

import pytest

from local.autoscaling import DIMENSION, AutoScaling, AutoScalingError

RESOURCE = "endpoint/e/variant/main"
NAMES = {"ServiceNamespace": "sagemaker", "ResourceId": RESOURCE, "ScalableDimension": DIMENSION}


class FakeHost:
    region, account, time_scale = "us-east-1", "000000000000", 40.0


class FakeService:
    """An endpoint `e` with one variant."""

    host = FakeHost()

    def __init__(self) -> None:
        self.count = 2

    def call(self, name: str, params: dict[str, Any]) -> dict[str, Any]:
        if name == "DescribeEndpoint":
            return {"ProductionVariants": [{"VariantName": "main", "CurrentInstanceCount": self.count}]}
        [change] = params["DesiredWeightsAndCapacities"]
        self.count = change["DesiredInstanceCount"]
        return {}


@pytest.fixture
def scaling() -> AutoScaling:
    return AutoScaling(FakeService())


def track(scaling: AutoScaling, monkeypatch: pytest.MonkeyPatch, invocations: float, **more: Any) -> int:
    """The count after one look, with a target of 100 invocations per instance."""
    metric = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
    tracking = {"TargetValue": 100.0, "PredefinedMetricSpecification": metric, **more}
    policy = NAMES | {"PolicyName": "p", "PolicyType": "TargetTrackingScaling"}
    scaling.call("PutScalingPolicy", policy | {"TargetTrackingScalingPolicyConfiguration": tracking})
    monkeypatch.setattr(scaling, "invocations", lambda _: invocations)
    scaling.step()
    return scaling.service.count


def test_bounds_hold_without_a_policy(scaling: AutoScaling) -> None:
    scaling.call("RegisterScalableTarget", NAMES | {"MinCapacity": 3, "MaxCapacity": 4})
    scaling.step()
    assert scaling.service.count == 3


def test_capacity_follows_the_invocations(scaling: AutoScaling, monkeypatch: pytest.MonkeyPatch) -> None:
    scaling.call("RegisterScalableTarget", NAMES | {"MinCapacity": 1, "MaxCapacity": 4})
    assert track(scaling, monkeypatch, 310, ScaleOutCooldown=0) == 4
    assert track(scaling, monkeypatch, 9_000, ScaleOutCooldown=0) == 4
    assert track(scaling, monkeypatch, 10, ScaleInCooldown=300) == 4
    assert track(scaling, monkeypatch, 10, ScaleInCooldown=0, DisableScaleIn=True) == 4
    assert track(scaling, monkeypatch, 10, ScaleInCooldown=0) == 1


def test_errors_are_auto_scalings_own(scaling: AutoScaling) -> None:
    for name, code in [("DeregisterScalableTarget", "ObjectNotFoundException")]:
        with pytest.raises(AutoScalingError) as raised:
            scaling.call(name, NAMES)
        assert raised.value.args[0] == code
    with pytest.raises(AutoScalingError, match="No SageMaker variant"):
        scaling.call(
            "RegisterScalableTarget", NAMES | {"ResourceId": "endpoint/e/variant/other", "MinCapacity": 1}
        )
    with pytest.raises(AutoScalingError, match="Missing required parameter"):
        scaling.call("RegisterScalableTarget", {"ServiceNamespace": "sagemaker"})


def test_a_target_that_is_gone_has_no_policies(scaling: AutoScaling, monkeypatch: pytest.MonkeyPatch) -> None:
    scaling.call("RegisterScalableTarget", NAMES | {"MinCapacity": 1, "MaxCapacity": 4})
    track(scaling, monkeypatch, 10)
    scaling.call("DeregisterScalableTarget", NAMES)
    assert scaling.call("DescribeScalingPolicies", {"ServiceNamespace": "sagemaker"}) == {
        "ScalingPolicies": []
    }
