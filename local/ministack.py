"""The one file that knows MiniStack's private names: what the local stack reads, calls or replaces in it.

MiniStack is pinned exactly. Each name has its signature beside it; `check` compares them when the server
starts, and tests/local/test_ministack_contract.py one by one, so that an upgrade fails here, by name, and
nowhere else. The rest of local/ says `ministack.get("send_sns")` or `ministack.replace("send_sns", ours)`.
"""

import contextlib
import hashlib
import importlib
import importlib.metadata
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from local.host import AccessDenied

VERSION = "1.5.33"

# our name: (module under ministack, attribute, signature; None for what is not a function)
NAMES: dict[str, tuple[str, str, str | None]] = {
    # the server
    "asgi": ("app", "app", "(scope, receive, send)"),
    "service_handlers": ("app", "SERVICE_HANDLERS", None),
    "known_services": ("core.router", "_KNOWN_AWS_SERVICE_NAMES", None),
    "account": ("core.responses", "get_account_id", "() -> str"),
    "request_account": ("core.responses", "set_request_account_id", "(access_key_id: str) -> None"),
    "request_region": ("core.responses", "set_request_region", "(region: str | None) -> None"),
    "access_key": ("core.router", "extract_access_key_id", "(headers: dict, query_params=None) -> str"),
    "request_origin": ("app", "pin_request_origin", "(source_ip: str, secure_transport: bool) -> None"),
    # IAM
    "enforce": (
        "core.iam_evaluator",
        "enforce",
        "(access_key_id: str, iam_action: str, service: str, region: str, resource_arn: str = '*', "
        "service_context: dict[str, typing.Any] | None = None) -> ministack.core.iam_evaluator.EvalResult | "
        "ministack.core.iam_evaluator.AuthError | None",
    ),
    "auth_error": ("core.iam_evaluator", "AuthError", None),
    "caller": ("core.iam_evaluator", "caller_arn", "() -> str"),
    "evaluation": ("core.iam_evaluator", "EvalContext", None),
    "evaluate_resource_policy": (
        "core.iam_evaluator",
        "evaluate_resource_policy",
        "(doc: str | dict | None, ctx: ministack.core.iam_evaluator.EvalContext, service: str | None = None, "
        "named_only: bool = False, direct_only: bool = False) -> ministack.core.iam_evaluator.EvalResult",
    ),
    "resource_of_request": (
        "core.iam_actions",
        "extract_resource_arn",
        "(service: str, method: str, path: str, headers: dict, body: bytes, query_params: dict, region: str, "
        "account_id: str) -> str",
    ),
    "roles": ("services.iam", "_roles", None),
    "register_session": ("services.sts", "register_session", "(access_key: str, session: dict) -> None"),
    # S3
    "encryption_headers": (
        "services.s3",
        "_resolve_sse_write_headers",
        "(headers: dict, bucket_name: str)",
    ),
    # Lambda
    "execute_function": (
        "services.lambda_svc",
        "_execute_function_warm",
        "(func: dict, event: dict, request_id: str) -> dict",
    ),
    "execute_image": (
        "services.lambda_svc",
        "_execute_function_docker",
        "(func: dict, event: dict, request_id: str) -> dict",
    ),
    "function_credentials": (
        "core.lambda_runtime",
        "execution_credentials",
        "(config: dict) -> dict[str, str]",
    ),
    "function_variables": ("services.lambda_svc", "_runtime_env_vars", "(config: dict) -> dict"),
    "layer_archive": (
        "services.lambda_svc",
        "_resolve_layer_zip",
        "(attachment: str | dict) -> bytes | None",
    ),
    "trace_id": (
        "services.lambda_svc",
        "_xray_trace_id_for_invocation",
        "(config: dict, inbound_trace_header: str | None = None) -> str | None",
    ),
    "function_by_reference": (
        "services.lambda_svc",
        "_get_func_record_for_ref",
        "(function_ref: str) -> tuple[dict | None, dict | None, str]",
    ),
    "execution_record": (
        "services.lambda_svc",
        "_execution_record_for_config",
        "(func: dict, config: dict) -> dict",
    ),
    "invoke_asynchronously": (
        "services.lambda_svc",
        "invoke_async_with_retry",
        "(func: dict, event: dict) -> None",
    ),
    # Step Functions
    "state_machines": ("services.stepfunctions", "_state_machines", None),
    "executions": ("services.stepfunctions", "_executions", None),
    "execution_error": ("services.stepfunctions", "_ExecutionError", None),
    "machine_definition": ("services.cloudformation.provisioners", "_sfn_definition", "(props)"),
    "check_definition": (
        "services.stepfunctions",
        "_validate_definition_jsonata",
        "(definition_str) -> str | None",
    ),
    "start_execution": ("services.stepfunctions", "_start_execution", "(data)"),
    "run_execution": ("services.stepfunctions", "_run_execution", "(exec_arn)"),
    "fail_execution": ("services.stepfunctions", "_fail_execution", "(execution, error, cause)"),
    "add_history": ("services.stepfunctions", "_add_event", "(execution, event_type, details=None)"),
    "emit_execution_status": (
        "services.stepfunctions",
        "_emit_execution_status_event",
        "(execution) -> None",
    ),
    "execute_task": ("services.stepfunctions", "_execute_task", "(state_def, raw_input, execution, ctx)"),
    "invoke_resource": ("services.stepfunctions", "_invoke_resource", "(resource, input_data)"),
    "invoke_resource_with_timeout": (
        "services.stepfunctions",
        "_invoke_resource_with_timeout",
        "(resource, input_data, timeout)",
    ),
    "invoke_with_callback": (
        "services.stepfunctions",
        "_invoke_with_callback",
        "(resource, input_data, token, state_def)",
    ),
    "task_tokens": ("services.stepfunctions", "_task_tokens", None),
    "send_task_success": ("services.stepfunctions", "_send_task_success", "(data)"),
    "send_task_failure": ("services.stepfunctions", "_send_task_failure", "(data)"),
    "evaluate": (
        "services.stepfunctions",
        "_apply_jsonata_template",
        "(value, raw_input, ctx=None, result=None, error_output=None)",
    ),
    "find_retrier": (
        "services.stepfunctions",
        "_find_matching_retrier",
        "(retriers, error, retry_counts)",
    ),
    # EventBridge and Scheduler
    "events_now": ("services.eventbridge", "_now_ts", "() -> float"),
    "put_events": ("services.eventbridge", "_put_events", "(data, allow_aws_source=False)"),
    "dispatch_event": ("services.eventbridge", "_dispatch_event", "(event, view=None)"),
    "invoke_target": ("services.eventbridge", "_invoke_target", "(target, event, rule, view=None)"),
    "send_lambda": ("services.eventbridge", "_dispatch_to_lambda", "(arn, payload)"),
    "send_sqs": ("services.eventbridge", "_dispatch_to_sqs", "(spec, payload, sqs_parameters=None)"),
    "send_sns": ("services.eventbridge", "_dispatch_to_sns", "(arn, payload)"),
    "send_machine": ("services.eventbridge", "_dispatch_to_stepfunctions", "(arn, payload)"),
    "send_bus": (
        "services.eventbridge",
        "_dispatch_to_event_bus",
        "(spec, event, rule, event_path, target_input_payload=None)",
    ),
    "buses": ("services.eventbridge", "_event_buses", None),
    "bus_policies": ("services.eventbridge", "_event_bus_policies", None),
    "cron_fields": ("services.eventbridge", "_parse_cron_fields", "(expr: str)"),
    "cron_next": (
        "services.eventbridge",
        "_cron_next_fire",
        "(fields, after_dt: datetime.datetime) -> datetime.datetime | None",
    ),
    "schedules": ("services.scheduler", "_schedules", None),
    "scheduler_now": ("services.scheduler", "_now", "()"),
    "start_scheduler": ("services.scheduler", "start_scheduler", "() -> None"),
    # SNS, SQS, S3
    "topic": ("services.sns", "_topic_by_arn_any_scope", "(topic_arn: str) -> dict | None"),
    "publish": (
        "services.sns",
        "publish_internal",
        "(topic_arn: str, message, subject: str = '', *, message_structure: str = '', "
        "message_attributes: dict | None = None, message_group_id: str = '', "
        "message_deduplication_id: str = '') -> dict | None",
    ),
    "topic_allows": (
        "services.sns",
        "topic_policy_allows",
        "(topic_arn: str, service: str, source_arn: str, source_account: str) -> bool",
    ),
    "queue": ("services.sqs", "_queue_by_arn", "(arn: str) -> dict | None"),
    "queue_allows": (
        "services.sqs",
        "queue_policy_allows",
        "(queue_arn: str, service: str, source_arn: str, source_account: str) -> bool",
    ),
    "function_policy": (
        "services.lambda_svc",
        "function_policy_for_arn",
        "(resource_arn: str) -> tuple[dict, str] | None",
    ),
    "buckets": ("services.s3", "_buckets", None),
    # CloudWatch
    "metrics": ("services.cloudwatch", "_metrics", None),
    "alarms": ("services.cloudwatch", "_alarms", None),
    "composite_alarms": ("services.cloudwatch", "_composite_alarms", None),
    "store_metric": (
        "services.cloudwatch",
        "_store_datum",
        "(namespace, name, dims, ts, unit, value, values, counts, stat_values)",
    ),
    "put_alarm": (
        "services.cloudwatch",
        "_put_metric_alarm",
        "(params, cbor_data, is_cbor, is_json=False)",
    ),
    "put_composite_alarm": (
        "services.cloudwatch",
        "_put_composite_alarm",
        "(params, cbor_data, is_cbor, is_json=False)",
    ),
    "delete_alarms": ("services.cloudwatch", "_delete_alarms", "(params, cbor_data, is_cbor, is_json=False)"),
    "evaluate_alarm": ("services.cloudwatch", "_evaluate_alarm", "(alarm)"),
    "evaluate_parents": ("services.cloudwatch", "_evaluate_parent_alarms", "(child, seen=frozenset())"),
    "alarm_changed": (
        "services.cloudwatch",
        "_record_history",
        "(alarm_name, old_state, new_state, reason, alarm_type='MetricAlarm', reason_data=None)",
    ),
    "alarm_actions": (
        "services.cloudwatch",
        "_dispatch_alarm_actions",
        "(alarm, old_state, new_state, reason)",
    ),
    "statistics": ("services.cloudwatch", "_calc_stats", "(points)"),
    "statistic": ("services.cloudwatch", "_stat_value", "(stats, stat_name, points=None)"),
    "cloudformation_alarm": (
        "services.cloudwatch",
        "cloudformation_put_metric_alarm",
        "(alarm: dict) -> None",
    ),
    "log_groups": ("services.cloudwatch_logs", "_log_groups", None),
    "log_group_arn": ("services.cloudwatch_logs", "_make_group_arn", "(name)"),
    "append_logs": ("services.cloudwatch_logs", "_append_log_events", "(stream, events)"),
    # API Gateway
    "proxy_response": (
        "services.lambda_svc",
        "lambda_execute_result_to_api_proxy_response",
        "(exec_result: dict) -> tuple[dict | None, str | None]",
    ),
    "api_time": ("services.apigateway", "time", None),
    "create_route": ("services.apigateway", "_create_route", "(api_id, data)"),
    "create_integration": ("services.apigateway", "_create_integration", "(api_id, data)"),
    "api_routes": ("services.apigateway", "_routes", None),
    "api_integrations": ("services.apigateway", "_integrations", None),
    # CloudFormation
    "resource_handlers": ("services.cloudformation.provisioners", "_RESOURCE_HANDLERS", None),
}


def get(name: str) -> Any:
    """What MiniStack holds under one of our names, as it is now."""
    module, attribute, _ = NAMES[name]
    return getattr(importlib.import_module(f"ministack.{module}"), attribute)


def replace(name: str, ours: Any) -> Any:
    """Puts something of ours in a name's place; what was there before."""
    module, attribute, _ = NAMES[name]
    before = get(name)
    setattr(importlib.import_module(f"ministack.{module}"), attribute, ours)
    return before


def problem(name: str) -> str | None:
    """Why a name is not as it was in VERSION, or None."""
    module, attribute, signature = NAMES[name]
    where = f"ministack.{module}.{attribute} ({name!r} in local/ministack.py)"
    try:
        found = get(name)
    except (ImportError, AttributeError) as error:
        return f"{where} is gone from MiniStack {installed_version()}: {error}"
    actual = str(inspect.signature(found)) if signature is not None and callable(found) else None
    if actual != signature:
        return f"{where} is {actual} in MiniStack {installed_version()}, not {signature}"
    return None


def installed_version() -> str:
    return importlib.metadata.version("ministack")


def check() -> None:
    """Fails with every name that is not as expected. Call it before anything is replaced."""
    problems = [text for name in NAMES if (text := problem(name))]
    if problems:
        raise RuntimeError(
            f"local/ is written for MiniStack {VERSION}; pin it again or adapt local/ministack.py:\n  "
            + "\n  ".join(problems)
        )


@contextlib.contextmanager
def scope(account: str, region: str) -> Iterator[None]:
    """Work as MiniStack does within a request of this account and region."""
    responses = importlib.import_module("ministack.core.responses")
    before = responses.get_account_id(), responses.get_region()
    get("request_account")(account)
    get("request_region")(region)
    try:
        yield
    finally:
        get("request_account")(before[0])
        get("request_region")(before[1])


def authorize(access_key: str, region: str, action: str, resource: str, context: dict | None = None) -> None:
    """Raises AccessDenied, worded as IAM words it, unless the key's policies allow the action."""
    service = action.partition(":")[0]
    denied = get("enforce")(
        access_key, action, service, region, resource_arn=resource, service_context=context
    )
    if denied is None:
        return
    if isinstance(denied, get("auth_error")):
        raise AccessDenied(denied.message)
    kind = "with an explicit deny" if denied.decision == "Deny" else "because no identity-based policy allows"
    raise AccessDenied(
        f"User: {denied.principal_arn} is not authorized to perform: {action} on resource: {resource} "
        f"{kind} the {action} action"
    )


def require_grant(
    policy: str | dict | None, principal: str, action: str, resource: str, context: dict | None = None
) -> None:
    """Raises AccessDenied unless a resource's policy allows the action to a principal of another account,
    whom nothing allows but that policy. context: the request's condition keys, in lower case."""
    about = get("evaluation")(
        principal_arn=principal,
        principal_type="AssumedRole" if ":assumed-role/" in principal else "Root",
        principal_account=principal.split(":")[4],
        action=action,
        resource_arn=resource,
        region=resource.split(":")[3],
        service_context=context or {},
    )
    if get("evaluate_resource_policy")(policy, about).decision != "Allow":
        raise AccessDenied(
            f"User: {principal} is not authorized to perform: {action} on resource: {resource} "
            f"because no resource-based policy allows the {action} action"
        )


def role_credentials(role_arn: str, session: str, service: str | None = None) -> dict[str, str]:
    """Credentials of a role's session, always the same for the same role and session.

    service: the principal that assumes it (states.amazonaws.com); the role's trust policy must name it.
    Raises AccessDenied where the role is not there or does not trust the service.
    """
    role = get("roles").get(role_arn.rpartition("/")[2])
    if role is None:
        raise AccessDenied(f"The role {role_arn} does not exist")
    if service and service not in str(role.get("AssumeRolePolicyDocument")):
        raise AccessDenied(f"The role {role_arn} does not trust {service}: it cannot be assumed")
    digest = hashlib.sha256(f"{role_arn}:{session}".encode()).hexdigest()
    access_key = f"ASIA{digest[:16].upper()}"
    secret, token = (hashlib.sha256(f"{kind}:{digest}".encode()).hexdigest() for kind in ("secret", "token"))
    account, name = role_arn.split(":")[4], role_arn.rpartition("/")[2]
    get("register_session")(
        access_key,
        {
            "Arn": f"arn:aws:sts::{account}:assumed-role/{name}/{session[:64]}",
            "UserId": f"{name}:{session[:64]}",
            "SecretAccessKey": secret,
            "SessionToken": token,
        },
    )
    return {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": token}


def write_logs(group: str, stream: str, events: list[dict[str, Any]]) -> None:
    """events: {timestamp: milliseconds, message}. Group and stream are created on first use."""
    groups, now = get("log_groups"), max(event["timestamp"] for event in events)
    if group not in groups:
        groups[group] = {"arn": get("log_group_arn")(group), "creationTime": now, "retentionInDays": None}
        groups[group] |= {"tags": {}, "subscriptionFilters": {}, "streams": {}}
    streams = groups[group]["streams"]
    if stream not in streams:
        streams[stream] = {"events": [], "uploadSequenceToken": "1", "creationTime": now}
        streams[stream] |= dict.fromkeys(("firstEventTimestamp", "lastEventTimestamp", "lastIngestionTime"))
    get("append_logs")(streams[stream], [event | {"ingestionTime": now} for event in events])


def add_service(name: str, handler: Callable[..., Any]) -> None:
    """handler: async (method, path, headers, body, query) -> (status, headers, body).

    A request is routed by the service that its signature names. Left to itself MiniStack would read all of
    botocore's models at the first unknown name, to learn whether it is a service: 2 s and 400 MB.
    """
    get("service_handlers")[name] = handler
    replace("known_services", frozenset({*(get("known_services") or ()), name}))


def add_resource_type(
    type_name: str, create: Callable[..., Any], delete: Callable[..., Any], **more: Any
) -> None:
    """create(logical_id, properties, stack) -> (id, attributes); delete(id, properties)."""
    get("resource_handlers")[type_name] = {"create": create, "delete": delete, **more}
