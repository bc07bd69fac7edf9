"""Application Auto Scaling for endpoint variants: a small service over botocore's shapes.

Target tracking follows SageMakerVariantInvocationsPerInstance (the last minute, on the machine's time); its
cooldowns are divided by the time scale. A change is an ordinary UpdateEndpointWeightsAndCapacities.
"""

import asyncio
import json
import logging
import math
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from local import ministack
from local.accounts import Accounts
from local.host import AccessDenied
from local.sagemaker.errors import SageMakerError

log = logging.getLogger(__name__)
TICK_SECONDS = 2.0
WINDOW_SECONDS = 60.0
DIMENSION = "sagemaker:variant:DesiredInstanceCount"
PREDEFINED = "SageMakerVariantInvocationsPerInstance"
DEFAULT_COOLDOWN = 300.0
SERVICE_ROLE = (
    "aws-service-role/sagemaker.application-autoscaling.amazonaws.com/"
    "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
)


class AutoScalingError(Exception):
    """(code, message)"""


class AutoScaling:
    """One account's, beside its SageMaker."""

    def __init__(self, service: Any) -> None:
        self.host, self.service = service.host, service
        self.model = ServiceModel(Loader().load_service_model("application-autoscaling", "service-2"))
        self.targets: dict[str, dict[str, Any]] = {}  # resource id -> target
        self.policies: dict[tuple[str, str], dict[str, Any]] = {}  # (resource id, name) -> policy
        self.changed: dict[str, float] = {}  # resource id -> machine time of its last change
        self.lock = threading.RLock()

    def call(self, name: str, params: dict[str, Any]) -> dict[str, Any]:
        operation = {
            "RegisterScalableTarget": self.register,
            "DeregisterScalableTarget": self.deregister,
            "DescribeScalableTargets": self.describe_targets,
            "PutScalingPolicy": self.put_policy,
            "DeleteScalingPolicy": self.delete_policy,
            "DescribeScalingPolicies": self.describe_policies,
        }.get(name)
        if operation is None:
            raise AutoScalingError(
                "UnknownOperationException", f"{name} is not part of the local Auto Scaling"
            )
        report = ParamValidator().validate(params, self.model.operation_model(name).input_shape)
        if report.has_errors():
            raise AutoScalingError("ValidationException", report.generate_report())
        if params.get("ServiceNamespace") != "sagemaker":
            raise AutoScalingError("ValidationException", "The local Auto Scaling scales sagemaker alone")
        with self.lock:
            return operation(params)

    def register(self, params: dict[str, Any]) -> dict[str, Any]:
        identity = params["ResourceId"]
        self.variant(identity)
        target = self.targets.setdefault(
            identity,
            {
                "ServiceNamespace": "sagemaker",
                "ResourceId": identity,
                "ScalableDimension": params["ScalableDimension"],
                "RoleARN": f"arn:aws:iam::{self.host.account}:role/{SERVICE_ROLE}",
                "CreationTime": time.time(),
                "ScalableTargetARN": self.arn(identity),
            },
        )
        target |= {
            key: params[key] for key in ("MinCapacity", "MaxCapacity", "SuspendedState") if key in params
        }
        if "MinCapacity" not in target or "MaxCapacity" not in target:
            del self.targets[identity]
            raise AutoScalingError("ValidationException", "MinCapacity and MaxCapacity are required at first")
        return {"ScalableTargetARN": target["ScalableTargetARN"]}

    def deregister(self, params: dict[str, Any]) -> dict[str, Any]:
        self.target(params["ResourceId"])
        del self.targets[params["ResourceId"]]
        for key in [key for key in self.policies if key[0] == params["ResourceId"]]:
            del self.policies[key]
        return {}

    def describe_targets(self, params: dict[str, Any]) -> dict[str, Any]:
        wanted = params.get("ResourceIds") or list(self.targets)
        return {"ScalableTargets": [self.targets[name] for name in wanted if name in self.targets]}

    def put_policy(self, params: dict[str, Any]) -> dict[str, Any]:
        self.target(params["ResourceId"])
        key = (params["ResourceId"], params["PolicyName"])
        policy = self.policies.setdefault(key, {"CreationTime": time.time(), "Alarms": []})
        arn = f"arn:aws:autoscaling:{self.host.region}:{self.host.account}:scalingPolicy:{uuid.uuid4()}"
        policy |= {"PolicyType": "StepScaling", **params}
        policy.setdefault("PolicyARN", f"{arn}:resource/sagemaker/{key[0]}:policyName/{key[1]}")
        return {"PolicyARN": policy["PolicyARN"], "Alarms": []}

    def delete_policy(self, params: dict[str, Any]) -> dict[str, Any]:
        if self.policies.pop((params["ResourceId"], params["PolicyName"]), None) is None:
            raise AutoScalingError("ObjectNotFoundException", f"No scaling policy {params['PolicyName']}")
        return {}

    def describe_policies(self, params: dict[str, Any]) -> dict[str, Any]:
        names, resource = params.get("PolicyNames"), params.get("ResourceId")
        found = [
            p for (r, n), p in self.policies.items() if resource in (None, r) and (not names or n in names)
        ]
        return {"ScalingPolicies": found}

    def target(self, identity: str) -> dict[str, Any]:
        if identity not in self.targets:
            raise AutoScalingError("ObjectNotFoundException", f"No scalable target registered for {identity}")
        return self.targets[identity]

    def arn(self, identity: str) -> str:
        digest = uuid.uuid5(uuid.NAMESPACE_URL, identity).hex
        return (
            f"arn:aws:application-autoscaling:{self.host.region}:{self.host.account}:scalable-target/{digest}"
        )

    def authorize(self, headers: dict, name: str, params: dict[str, Any]) -> None:
        """Asks the caller's policies, with Auto Scaling's own condition keys. Raises AccessDenied."""
        identity = params.get("ResourceId")
        resource = self.arn(identity) if identity and not name.startswith("Describe") else "*"
        keys = {"service-namespace": "ServiceNamespace", "scalable-dimension": "ScalableDimension"}
        context = {f"application-autoscaling:{key}": params[m] for key, m in keys.items() if m in params}
        with ministack.scope(self.host.account, self.host.region):
            key, action = ministack.get("access_key")(headers), f"application-autoscaling:{name}"
            ministack.authorize(key, self.host.region, action, resource, context)

    def variant(self, identity: str) -> dict[str, Any]:
        """The description of a variant by its resource id, endpoint/<name>/variant/<name>."""
        try:
            _, endpoint, _, name = identity.split("/")
            found = self.service.call("DescribeEndpoint", {"EndpointName": endpoint})
            return next(v for v in found["ProductionVariants"] if v["VariantName"] == name)
        except (ValueError, KeyError, StopIteration, SageMakerError) as error:
            raise AutoScalingError(
                "ValidationException", f"No SageMaker variant {identity}: {error}"
            ) from None

    def step(self) -> None:
        """Brings every target to where its bounds and its policies want it."""
        with self.lock:
            targets = list(self.targets.values())
        for target in targets:
            try:
                self.scale(target)
            except (AutoScalingError, SageMakerError) as error:
                log.info("%s is not scaled now: %s", target["ResourceId"], error)

    def scale(self, target: dict[str, Any]) -> None:
        identity = target["ResourceId"]
        variant = self.variant(identity)
        current = variant.get("DesiredInstanceCount") or variant["CurrentInstanceCount"]
        wanted = max(
            (self.wanted(p, current) for (r, _), p in self.policies.items() if r == identity), default=current
        )
        wanted = min(max(wanted, target["MinCapacity"]), target["MaxCapacity"])
        if wanted == current:
            return
        _, endpoint, _, name = identity.split("/")
        change = {"VariantName": name, "DesiredInstanceCount": wanted}
        self.service.call(
            "UpdateEndpointWeightsAndCapacities",
            {"EndpointName": endpoint, "DesiredWeightsAndCapacities": [change]},
        )
        self.changed[identity] = time.time()
        log.info("%s: %d -> %d instances", identity, current, wanted)

    def wanted(self, policy: dict[str, Any], current: int) -> int:
        """Instances that keep invocations per instance and minute at the policy's target."""
        tracking = policy.get("TargetTrackingScalingPolicyConfiguration") or {}
        if (tracking.get("PredefinedMetricSpecification") or {}).get("PredefinedMetricType") != PREDEFINED:
            return current
        wanted = max(1, math.ceil(self.invocations(policy["ResourceId"]) / tracking["TargetValue"]))
        direction = "ScaleOutCooldown" if wanted > current else "ScaleInCooldown"
        cooldown = float(tracking.get(direction, DEFAULT_COOLDOWN)) / self.host.time_scale
        is_cooling = time.time() - self.changed.get(policy["ResourceId"], 0) < cooldown
        if is_cooling or (wanted < current and tracking.get("DisableScaleIn")):
            return current
        return wanted

    def invocations(self, identity: str) -> float:
        """Invocations of a variant in the last minute."""
        _, endpoint, _, variant = identity.split("/")
        dimensions = {"EndpointName": endpoint, "VariantName": variant}
        since, total = time.time() - WINDOW_SECONDS, 0.0
        with ministack.scope(self.host.account, self.host.region):
            for key, points in list(ministack.get("metrics").items()):
                if (
                    key[:2] == ("AWS/SageMaker", "Invocations")
                    and points
                    and points[0]["Dimensions"] == dimensions
                ):
                    recent = [point for point in points if point["Timestamp"] >= since]
                    total += ministack.get("statistics")(recent).get("Sum", 0.0)
        return total


def install(accounts: Accounts) -> None:
    def scaling() -> AutoScaling:
        return accounts.service().part(AutoScaling)

    async def handle(method: str, path: str, headers: dict, body: bytes, query: dict) -> tuple:
        return await asyncio.to_thread(_answer, scaling(), headers, body)

    def step_for_ever() -> None:
        while True:
            time.sleep(TICK_SECONDS)
            for service in accounts.services():
                service.part(AutoScaling).step()

    ministack.add_service("application-autoscaling", handle)
    _add_resource_types(scaling)
    threading.Thread(target=step_for_ever, name="autoscaling", daemon=True).start()


def _answer(scaling: AutoScaling, headers: dict, body: bytes) -> tuple[int, dict[str, str], bytes]:
    name = headers.get("x-amz-target", "").rpartition(".")[2]
    json_type = {"Content-Type": "application/x-amz-json-1.1"}
    try:
        params = json.loads(body or b"{}")
        scaling.authorize(headers, name, params)
        return 200, json_type, json.dumps(scaling.call(name, params)).encode()
    except AccessDenied as error:
        code, message = "AccessDeniedException", str(error)
    except AutoScalingError as error:
        code, message = error.args
    return 400, json_type, json.dumps({"__type": code, "message": message}).encode()


def _add_resource_types(scaling: Callable[[], AutoScaling]) -> None:
    def create_target(logical_id: str, properties: dict[str, Any], stack: str) -> Any:
        params = {k: int(v) if k.endswith("Capacity") else v for k, v in properties.items() if k != "RoleARN"}
        scaling().call("RegisterScalableTarget", params)
        return "|".join((properties["ResourceId"], DIMENSION, "sagemaker")), {}

    def delete_target(identity: str, properties: dict[str, Any]) -> None:
        scaling().targets.pop(identity.partition("|")[0], None)

    def create_policy(logical_id: str, properties: dict[str, Any], stack: str) -> Any:
        properties = dict(properties)
        if target := properties.pop("ScalingTargetId", None):
            resource, dimension, namespace = target.split("|")
            properties |= {
                "ResourceId": resource,
                "ScalableDimension": dimension,
                "ServiceNamespace": namespace,
            }
        arn = scaling().call("PutScalingPolicy", properties)["PolicyARN"]
        return arn, {"Arn": arn}

    def delete_policy(arn: str, properties: dict[str, Any]) -> None:
        policies = scaling().policies
        for key in [key for key, policy in policies.items() if policy["PolicyARN"] == arn]:
            del policies[key]

    prefix = "AWS::ApplicationAutoScaling"
    ministack.add_resource_type(f"{prefix}::ScalableTarget", create_target, delete_target)
    ministack.add_resource_type(f"{prefix}::ScalingPolicy", create_policy, delete_policy)
