"""One account in this process: the real handlers, moto's ledger and bucket, and what SageMaker would do."""

import importlib
import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any

from evergreen import card
from evergreen.ledger import Ledger

from tests.lint_asl import ROOT, states
from tests.machines import deploy_paths, monitor_paths, onboard_paths, respond_paths, train_paths
from tests.machines.engine import Result, Throw, machine, run
from tests.machines.scenario import event
from tests.template.test_names import is_image, is_lambda, snake
from tests.unit.conftest import Bucket, SageMaker
from tests.unit.exam import evaluation
from tests.unit.world import CONTEXT

USUAL = {
    "onboard": onboard_paths.USUAL,
    "train": train_paths.USUAL,
    "deploy": deploy_paths.USUAL,
    "monitor": monitor_paths.USUAL,
    "respond": respond_paths.USUAL,
}
GROUP = "arn:aws:sagemaker:us-east-1:123456789012:model-package/evergreen-flights"
ENDPOINT = "evergreen-flights"


def handlers(name: str) -> dict[str, Callable[[Any], Any]]:
    """Each state of a machine that has a function, answered by it as Lambda would."""

    def lambda_of(module: Any) -> Callable[[Any], Any]:
        def invoke(payload: Any) -> Any:
            try:
                return json.loads(json.dumps(module.handler(json.loads(json.dumps(payload)), CONTEXT)))
            except Exception as error:
                cause = {"errorMessage": str(error), "errorType": type(error).__name__, "stackTrace": []}
                return Throw(type(error).__name__, json.dumps(cause))

        return invoke

    return {
        state: lambda_of(importlib.import_module(f"{name}.{snake(state)}"))
        for _, state, definition in states(machine(name).definition)
        if is_lambda(definition.get("Resource")) and not is_image(state)
    }


class World:
    """One account: the ledger, the bucket, a registry and an endpoint, and the events that the loop sent."""

    def __init__(self, sagemaker: SageMaker) -> None:
        self.ledger, self.bucket, self.sagemaker = Ledger("ledger"), Bucket(), sagemaker
        self.versions = itertools.count(1)
        self.ids = itertools.count(1)
        self.auc = 0.72

    def run(self, name: str, given: Mapping[str, Any], **mocks: Any) -> Result:
        return run(name, given, {**USUAL[name], **handlers(name), **self.services(), **mocks})

    def services(self) -> dict[str, Any]:
        """What SageMaker's jobs, registry and endpoint do here."""
        return {
            "ReadValidation": {"Body": json.dumps(train_paths.VALIDATION)},
            "EvaluateModel": self.evaluate,
            "RegisterModel": self.register,
            "ApproveModel": self.approve_package,
            "CreateEndpoint": self.move_endpoint,
            "UpdateEndpoint": self.move_endpoint,
            "RestorePrevious": self.move_endpoint,
            "DescribeEndpoint": lambda given: self.sagemaker.endpoints[ENDPOINT],
        }

    def evaluate(self, job: dict[str, Any]) -> dict[str, str]:
        """The challenger's figure is `self.auc`, the champion's a little less."""

        inputs = {each["InputName"] for each in job["ProcessingInputs"]}
        outputs = {
            each["OutputName"]: each["S3Output"]["S3Uri"] for each in job["ProcessingOutputConfig"]["Outputs"]
        }
        champion = self.auc - 0.03 if "champion" in inputs else None
        figures = evaluation(self.auc, champion, 18_204)
        folder = outputs["evaluation"].removeprefix("s3://bucket/")
        self.bucket.put(f"{folder}/evaluation.json", figures)
        self.bucket.put(f"{folder}/explanation.json", {"explanations": {}, "shares": {"distance": 1.0}})
        self.bucket.put(f"{folder}/card.html", f"<main>{card.VERDICT}{card.RECORD}</main>")
        return {"ProcessingJobStatus": "Completed"}

    def register(self, package: dict[str, Any]) -> dict[str, str]:
        arn = f"{GROUP}/{next(self.versions)}"
        self.sagemaker.package(
            arn,
            package["ModelApprovalStatus"],
            CustomerMetadataProperties=package["CustomerMetadataProperties"],
        )
        return {"ModelPackageArn": arn}

    def approve_package(self, update: dict[str, Any]) -> dict[str, str]:
        return self.sagemaker.update_model_package(**update)

    def move_endpoint(self, request: dict[str, Any]) -> dict[str, str]:
        self.sagemaker.endpoints[ENDPOINT] = {
            "EndpointName": ENDPOINT,
            "EndpointStatus": "InService",
            "EndpointConfigName": request["EndpointConfigName"],
        }
        return {"EndpointArn": "arn:aws:sagemaker:us-east-1:123456789012:endpoint/evergreen-flights"}

    def sent(self, result: Result, state: str, at: str) -> dict[str, Any]:
        """The event that a state put on the bus, as EventBridge delivers it."""
        (entry,) = result.only(state)["Entries"]
        envelope = {"source": entry["Source"], "detail-type": entry["DetailType"], "detail": entry["Detail"]}
        return {
            **event("onboard-training-requested"),
            **envelope,
            "id": f"event-{next(self.ids)}",
            "time": at,
        }

    def history(self, kind: str) -> list[dict[str, Any]]:
        return [row for row in self.ledger.query("flights", "H#") if row["kind"] == kind]

    # The loop's steps

    def publish(self) -> dict[str, Any]:
        """The example's folder and two months of data; the event that its model.yaml makes."""
        folder = "models/flights/3f9a1c07be52"
        for file in ("train.py", "inference.py"):
            self.bucket.put(f"{folder}/{file}", (ROOT / "models/flights" / file).read_text())
        self.bucket.put(f"{folder}/source.tar.gz", b"...")
        version = self.bucket.put(f"{folder}/model.yaml", (ROOT / "models/flights/model.yaml").read_text())
        for month in ("01", "02"):
            self.bucket.put(f"datasets/flights/2013-{month}.parquet", b"PAR1")
        published = event("s3-object-created.model")
        published["detail"]["bucket"]["name"] = "bucket"
        published["detail"]["object"]["version-id"] = version
        return published

    def approve(self, version: int, at: str) -> dict[str, Any]:
        """A person approves; the registry's event says so."""
        arn = f"{GROUP}/{version}"
        self.sagemaker.update_model_package(
            arn, ModelApprovalStatus="Approved", ApprovalDescription="ok (by ada)"
        )
        approved = event("sagemaker-model-package-state-change")
        approved["detail"].update(ModelPackageArn=arn, ModelPackageVersion=version)
        return {**approved, "time": at}

    def capture(self, day: str, rows: int) -> None:
        """One captured request of `rows` rows, at noon of a day."""
        data = "\n".join(json.dumps({"flight_id": f"{day}-{row}"}) for row in range(rows))
        sent = {
            "observedContentType": "application/jsonlines",
            "mode": "INPUT",
            "data": data,
            "encoding": "JSON",
        }
        line = {
            "captureData": {"endpointInput": sent},
            "eventMetadata": {"eventId": day, "inferenceTime": f"{day}T12:00:00Z"},
        }
        key = f"capture/{ENDPOINT}/main/{day.replace('-', '/')}/12/00-00-000-a.jsonl"
        self.bucket.put(key, json.dumps(line))

    def analyze(self, violations: list[dict[str, Any]]) -> Callable[[dict[str, Any]], dict[str, str]]:
        """The job, or the function, that finds these violations."""

        def job(request: dict[str, Any]) -> dict[str, str]:
            (output,) = request["ProcessingOutputConfig"]["Outputs"]
            analysis = {"status": "Completed", "rows": 2000, "labelled": 1900, "violations": violations}
            analysis |= {"features": {}, "quality": {}, "skipped_lines": 0}
            key = output["S3Output"]["S3Uri"].removeprefix("s3://bucket/")
            self.bucket.put(f"{key.rstrip('/')}/analysis.json", analysis)
            return {"ExitMessage": "Completed"}

        return job
