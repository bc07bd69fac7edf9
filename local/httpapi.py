"""SAM's HttpApi: its OpenAPI body's routes, request times on the virtual clock, AWS's answer to a failure."""

import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from local import clock, ministack

METHODS = {"get", "put", "post", "delete", "options", "head", "patch"}
ANY_METHOD = "x-amazon-apigateway-any-method"
API_TYPE = "AWS::ApiGatewayV2::Api"


def install() -> None:
    plain = dict(ministack.get("resource_handlers")[API_TYPE])

    def create(logical_id: str, properties: dict[str, Any], stack: str) -> Any:
        identity, attributes = plain["create"](logical_id, _named(properties), stack)
        import_body(identity, properties.get("Body") or {})
        return identity, attributes

    def update(identity: str, old: dict, new: dict, stack: str, logical_id: str | None = None) -> Any:
        updated, attributes = plain["update"](identity, _named(old), _named(new), stack, logical_id)
        import_body(updated, new.get("Body") or {})
        return updated, attributes

    def proxy_response(result: dict[str, Any]) -> tuple[dict | None, str | None]:
        if result.get("error") and not result.get("throttle"):  # AWS shows a caller nothing of the function
            return {"statusCode": 500, "body": '{"message":"Internal Server Error"}'}, None
        return respond(result)

    respond = ministack.replace("proxy_response", proxy_response)
    ministack.add_resource_type(API_TYPE, **(plain | {"create": create, "update": update}))
    ministack.replace(
        "api_time", SimpleNamespace(**(vars(time) | {"time": clock.epoch, "strftime": _strftime}))
    )


def import_body(api: str, body: dict[str, Any]) -> None:
    """Replaces an API's routes by those of its OpenAPI body."""
    if not body:
        return
    ministack.get("api_routes")[api] = {}
    ministack.get("api_integrations")[api] = {}
    for path, operations in body.get("paths", {}).items():
        for method, operation in operations.items():
            if method in METHODS or method == ANY_METHOD:
                _add_route(api, _route_key(path, method), operation, body)


def _add_route(api: str, route_key: str, operation: dict[str, Any], body: dict[str, Any]) -> None:
    integration = operation.get("x-amazon-apigateway-integration", {})
    made = {
        "integrationType": integration.get("type", "aws_proxy").upper(),
        "integrationUri": integration.get("uri", ""),
        "integrationMethod": integration.get("httpMethod", "POST"),
        "payloadFormatVersion": str(integration.get("payloadFormatVersion", "2.0")),
    }
    ministack.get("create_integration")(api, made)
    identity = list(ministack.get("api_integrations")[api])[-1]
    security = operation.get("security", body.get("security"))
    route = {"routeKey": route_key, "target": f"integrations/{identity}"}
    ministack.get("create_route")(api, route | {"authorizationType": _authorization(security, body)})


def _route_key(path: str, method: str) -> str:
    if path == "/$default":
        return "$default"
    return f"{'ANY' if method == ANY_METHOD else method.upper()} {path}"


def _authorization(security: list[dict[str, Any]] | None, body: dict[str, Any]) -> str:
    schemes = body.get("components", {}).get("securitySchemes", {})
    for name in (name for requirement in security or [] for name in requirement):
        if name == "AWS_IAM" or schemes.get(name, {}).get("x-amazon-apigateway-authtype") == "awsSigv4":
            return "AWS_IAM"
        raise ValueError(f"the local HTTP API knows the authorizer AWS_IAM, not {name}")
    return "NONE"


def _named(properties: dict[str, Any]) -> dict[str, Any]:
    """SAM leaves the name and protocol to the body."""
    title = (properties.get("Body") or {}).get("info", {}).get("title")
    return {"ProtocolType": "HTTP", **({"Name": title} if title else {}), **properties}


def _strftime(pattern: str, moment: time.struct_time | None = None) -> str:
    return (
        time.strftime(pattern, moment)
        if moment
        else datetime.fromtimestamp(clock.epoch(), UTC).strftime(pattern)
    )
