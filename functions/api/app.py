"""The HTTP API: predictions and labels, what the loop is doing, and what a person decides.

Every route is authorised by IAM. A refusal says which field and why:

    400 {"message": "2 values will not do", "errors": [{"instance": 0, "field": "dep_hour", "reason": "is
    missing"}]}

Environment: TABLE, BUCKET, BUS, PREFIX.
IAM: dynamodb:GetItem, Query, PutItem on the table; sagemaker:InvokeEndpoint on our endpoints;
sagemaker:DescribeModelPackage, UpdateModelPackage on the packages of our groups; s3:PutObject on labels/*
and capture/*; s3:GetObject on runs/*/evaluation/card.html and runs/*/card/card.json;
events:PutEvents on our bus; states:DescribeExecution on the executions of the train, deploy and respond
machines; states:SendTaskSuccess, SendTaskFailure on the deploy machine.
"""

from typing import Any

import approvals
import cards
import labels
import predictions
import releases
import rollbacks
import trainings
import views
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.logging import correlation_paths
from caller import Caller
from evergreen.errors import AwsUnavailable
from evergreen.telemetry import logger
from refusals import Refused

app = APIGatewayHttpResolver()


@logger.inject_lambda_context(correlation_id_path=correlation_paths.API_GATEWAY_HTTP)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """An HTTP API request, payload format 2.0."""
    return app.resolve(event, context)


@app.post("/models/<model>/predictions")
def predict(model: str) -> dict[str, Any]:
    """{"instances": [{column: value}]} -> {"model", "version", "predictions": [{"id", "prediction",
    ...}]}."""
    return predictions.predict(model, Caller.of(app.current_event))


@app.post("/models/<model>/labels")
def label(model: str) -> tuple[dict[str, Any], int]:
    """{"labels": [{"id", "label"}]} -> 202 {"accepted": n}."""
    return labels.accept(model, Caller.of(app.current_event)), 202


@app.get("/models")
def list_models() -> dict[str, Any]:
    """Every model, with what serves it."""
    return views.models()


@app.get("/models/<model>")
def get_model(model: str) -> dict[str, Any]:
    """One model: champion, versions that wait for a person, those in staging, last windows, open violations,
    the run in progress."""
    return views.model(model)


@app.get("/models/<model>/history")
def get_history(model: str) -> dict[str, Any]:
    """What happened to a model, newest first; ?limit= and ?next= page through it."""
    return views.history(model, Caller.of(app.current_event))


@app.post("/models/<model>/train")
def train(model: str) -> tuple[dict[str, Any], int]:
    """Ask for a training -> 202 {"cause"}; the same Idempotency-Key asks for the same one."""
    return trainings.ask(model, Caller.of(app.current_event)), 202


@app.get("/models/<model>/versions/<version>/card")
def get_card(model: str, version: str) -> Response:
    """The model card of a version, as a page: what speaks for it, and who decided what."""
    return Response(200, "text/html; charset=utf-8", cards.page(model, version))


@app.post("/models/<model>/versions/<version>/approval")
def approve(model: str, version: str) -> dict[str, Any]:
    """{"decision": "approve"|"reject", "reason", "force"?} -> {"version", "status", "by"}."""
    return approvals.decide(model, version, Caller.of(app.current_event))


@app.post("/models/<model>/deployments/<deployment>/approval")
def release(model: str, deployment: str) -> dict[str, Any]:
    """{"decision": "approve"|"reject", "reason"} -> {"version", "deployment", "decision", "by"}: what a
    staged version waits for; 409 where it does not wait (any more)."""
    return releases.decide(model, deployment, Caller.of(app.current_event))


@app.post("/models/<model>/rollback")
def roll_back(model: str) -> tuple[dict[str, Any], int]:
    """{"reason"} -> 202 {"cause", "version", "returns_to"}: the version before comes back; 409 where there is
    none."""
    return rollbacks.ask(model, Caller.of(app.current_event)), 202


@app.exception_handler(Refused)
def refuse(refused: Refused) -> Response:
    """A request that will not do."""
    logger.info(refused.logged, status=refused.status)
    return Response(refused.status, "application/json", refused.body())


@app.exception_handler(AwsUnavailable)
def unavailable(error: AwsUnavailable) -> Response:
    """Something of AWS's is throttled or down; the same request may be sent again."""
    logger.warning(str(error))
    return refuse(Refused(503, "try again in a moment"))
