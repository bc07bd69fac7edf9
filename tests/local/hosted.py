"""Endpoints in a test: a service with one tiny image, a loop for its runtime, and short names for its API."""

import asyncio
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from local.sagemaker.containers import Image
from local.sagemaker.hosting import Hosting
from local.sagemaker.runtime import handle_invoke
from local.sagemaker.service import Service
from tests.local.fakes import ACCOUNT, FakeHost

IMAGE = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/tiny:1"
CONTAINER = Path(__file__).with_name("container.py")


class FakeS3:
    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.is_down = False

    def put_object(self, Bucket: str, Key: str, Body: bytes) -> None:
        if self.is_down:
            raise ClientError({"Error": {"Code": "503", "Message": "Slow down"}}, "PutObject")
        self.objects[f"s3://{Bucket}/{Key}"] = Body

    def head_object(self, Bucket: str, Key: str) -> None:
        if f"s3://{Bucket}/{Key}" not in self.objects:
            raise ClientError({"Error": {"Code": "404", "Message": "Not Found"}}, "HeadObject")

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for body in self.objects.values() for line in body.splitlines()]


class FakeCloudWatch:
    def __init__(self) -> None:
        self.data: list[dict[str, Any]] = []

    def put_metric_data(self, Namespace: str, MetricData: list) -> None:
        assert Namespace == "AWS/SageMaker"
        self.data.extend(MetricData)

    def sum(self, name: str, **dimensions: str) -> float:
        wanted = [{"Name": key, "Value": value} for key, value in dimensions.items()]
        return sum(
            value * count
            for datum in self.data
            if datum["MetricName"] == name and datum["Dimensions"] == wanted
            for value, count in zip(datum["Values"], datum["Counts"], strict=True)
        )


class HostOfEndpoints(FakeHost):
    def __init__(self, time_scale: float) -> None:
        super().__init__()
        self.time_scale = time_scale
        self.s3, self.cloudwatch = FakeS3(), FakeCloudWatch()

    def client(self, service: str) -> Any:
        return {"s3": self.s3, "cloudwatch": self.cloudwatch}[service]

    def statuses(self, detail_type: str = "SageMaker Endpoint State Change") -> list[str]:
        return [detail["EndpointStatus"] for kind, detail, _ in self.events if kind == detail_type]


class Hosted:
    """time_scale: large, so that a bake of minutes takes a second."""

    def __init__(self, root: Path, time_scale: float = 600.0) -> None:
        self.host = HostOfEndpoints(time_scale)
        self.service = Service(self.host, root)
        self.service.images["tiny"] = Image([sys.executable, "-S", str(CONTAINER)])
        self.call = self.service.call
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.service.close()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    @property
    def hosting(self) -> Hosting:
        return self.service.part(Hosting)

    def model(self, name: str, **environment: str) -> None:
        """A model whose container answers with its name."""
        container = {"Image": IMAGE, "Environment": {"ANSWER": name, **environment}}
        self.call("CreateModel", {"ModelName": name, "PrimaryContainer": container})

    def config(self, name: str, *variants: dict[str, Any], **fields: Any) -> None:
        self.call(
            "CreateEndpointConfig",
            {"EndpointConfigName": name, "ProductionVariants": list(variants), **fields},
        )

    def generation(self, name: str, count: int = 1, **environment: str) -> None:
        """A model and an endpoint configuration of one variant, `main`, both called `name`."""
        self.model(name, **environment)
        self.config(name, variant(name, count=count))

    def create(self, config: str, name: str = "e") -> None:
        self.call("CreateEndpoint", {"EndpointName": name, "EndpointConfigName": config})
        self.settle(name)

    def update(self, config: str, name: str = "e", **fields: Any) -> None:
        self.call("UpdateEndpoint", {"EndpointName": name, "EndpointConfigName": config, **fields})

    def scale(self, name: str = "e", variant: str = "main", **change: float) -> None:
        """Change a variant's DesiredInstanceCount or DesiredWeight."""
        self.call(
            "UpdateEndpointWeightsAndCapacities",
            {"EndpointName": name, "DesiredWeightsAndCapacities": [{"VariantName": variant, **change}]},
        )

    def describe(self, name: str = "e") -> dict[str, Any]:
        return self.call("DescribeEndpoint", {"EndpointName": name})

    def settle(self, name: str = "e", timeout: float = 30.0) -> dict[str, Any]:
        """The endpoint's description once nothing is in progress."""
        return until(
            lambda: self.describe(name),
            lambda seen: seen["EndpointStatus"] not in ("Creating", "Updating", "RollingBack"),
            timeout,
        )

    def invoke(
        self, body: bytes = b"?", name: str = "e", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Headers as keywords: `X_Amzn_SageMaker_Inference_Id="1"`."""
        spelled = {key.replace("_", "-"): value for key, value in headers.items()}
        path = f"/endpoints/{name}/invocations"
        call = handle_invoke(self.service, "POST", path, spelled, body, {})
        return asyncio.run_coroutine_threadsafe(call, self.loop).result(70)


class SteadyClient:
    """Invokes an endpoint without a pause, from some threads, and keeps every answer."""

    def __init__(self, hosted: Hosted, threads: int = 3) -> None:
        self.answers: list[tuple[float, int, bytes]] = []
        self._hosted, self._stopping = hosted, threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self) -> "SteadyClient":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(0.002):
            status, _, body = self._hosted.invoke()
            self.answers.append((time.monotonic(), status, body))

    def failures(self) -> list[tuple[float, int, bytes]]:
        return [answer for answer in self.answers if answer[1] != 200]

    def share(self, model: str, since: float = 0.0, to: float = float("inf")) -> float:
        bodies = [body for at, _, body in self.answers if since <= at <= to]
        return sum(body == model.encode() for body in bodies) / len(bodies)


def variant(model: str, name: str = "main", count: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "VariantName": name,
        "ModelName": model,
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": count,
        **fields,
    }


def blue_green(kind: str, wait: int = 600, termination: int = 0, **fields: Any) -> dict[str, Any]:
    """A DeploymentConfig of kind CANARY, LINEAR (sizes as fields) or ALL_AT_ONCE; the alarm is `errors`."""
    routing = {"Type": kind, "WaitIntervalInSeconds": wait, **fields}
    return {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": routing,
            "TerminationWaitInSeconds": termination,
        },
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "errors"}]},
    }


def percent(value: int) -> dict[str, Any]:
    return {"Type": "CAPACITY_PERCENT", "Value": value}


def until(look: Any, wanted: Any, timeout: float = 30.0) -> Any:
    """What `look()` returns once `wanted` of it holds."""
    deadline = time.monotonic() + timeout
    while not wanted(seen := look()):
        assert time.monotonic() < deadline, f"still {seen}"
        time.sleep(0.02)
    return seen
