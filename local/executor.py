"""The worker pool in the place of MiniStack's Lambda executor, and metrics out of what functions log."""

import hashlib
import os
import sys
from collections.abc import Callable
from typing import Any

from local import embedded, ministack
from local.lambdas import Pool
from local.sagemaker.containers import REPOSITORY_ROOT, UnknownImage, find_image
from local.sagemaker.service import Service
from local.workers import Function, Result


def install(pool: Pool, url: str, service: Callable[[], Service]) -> None:
    """From now on Python functions run in the pool, and images as what `service()`, the account's SageMaker,
    has for them; `url` is where their SDK finds AWS."""

    def run(config: dict[str, Any], function: Function, event: Any, request_id: str) -> dict[str, Any]:
        result = pool.invoke(function, event, request_id, ministack.get("trace_id")(config))
        embedded.store_metrics(result.log.splitlines())
        return _answer(result)

    def execute(func: dict, event: Any, request_id: str) -> dict[str, Any]:
        config = func.get("config") or func
        return run(config, _function(pool, url, config, func.get("code_zip") or b""), event, request_id)

    def execute_image(func: dict, event: Any, request_id: str) -> dict[str, Any]:
        config = func.get("config") or func
        try:
            return run(config, _image(service(), url, config), event, request_id)
        except UnknownImage as error:
            body = {"errorType": "Runtime.InvalidEntrypoint", "errorMessage": str(error)}
            return _answer(Result(body, is_error=True))

    ministack.replace("execute_function", execute)
    ministack.replace("execute_image", execute_image)


def _answer(result: Result) -> dict[str, Any]:
    if result.is_error:
        return {"body": result.body, "error": True, "function_error": "Unhandled", "log": result.log}
    return {"body": result.body, "log": result.log}


def _function(pool: Pool, url: str, config: dict[str, Any], archive: bytes) -> Function:
    layers = [layer if isinstance(layer, str) else layer["Arn"] for layer in config.get("Layers", [])]
    environment = _environment(config, url)
    code = pool.unpack(config.get("CodeSha256") or hashlib.sha256(archive).hexdigest(), [archive])
    # A later layer's file replaces an earlier one's, as on AWS.
    stack = hashlib.sha256("\n".join(layers).encode()).hexdigest()[:32]
    opt = pool.unpack(f"layers-{stack}", _archives(config)) if layers else None
    environment["LAMBDA_TASK_ROOT"] = str(code)
    parts = [
        config["FunctionArn"],
        str(code),
        stack,
        str(config.get("Timeout")),
        *map(str, sorted(environment.items())),
    ]
    return Function(
        key=hashlib.sha256("\n".join(parts).encode()).hexdigest(),
        arn=config["FunctionArn"],
        timeout=float(config.get("Timeout") or 3),
        environment=environment,
        code=code,
        layers=opt,
    )


def _image(service: Service, url: str, config: dict[str, Any]) -> Function:
    """A function whose package is an image: the image's stand-in, started as the function says."""
    image = find_image(service, config["ImageUri"])
    start = (config.get("ImageConfigResponse") or {}).get("ImageConfig") or {}
    entrypoint = start.get("EntryPoint") or image.entrypoint
    command = tuple(sys.executable if word == "python" else word for word in entrypoint)
    environment = _environment(config, url) | image.environment
    command += tuple(start.get("Command") or ())
    parts = [config["FunctionArn"], *command, str(config["Timeout"]), *map(str, sorted(environment.items()))]
    return Function(
        key=hashlib.sha256("\n".join(parts).encode()).hexdigest(),
        arn=config["FunctionArn"],
        timeout=float(config["Timeout"]),
        environment=environment,
        code=REPOSITORY_ROOT,
        layers=None,
        command=command,
    )


def _archives(config: dict[str, Any]) -> list[bytes]:
    found = [ministack.get("layer_archive")(layer) for layer in config.get("Layers", [])]
    return [archive for archive in found if archive]


def _environment(config: dict[str, Any], url: str) -> dict[str, str]:
    """What AWS's runtime sets, the function's variables, its role's credentials; nothing of this process."""
    name, logging = config["FunctionName"], config.get("LoggingConfig") or {}
    region = config["FunctionArn"].split(":")[3]
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{config.get('Runtime', 'python3.13')}",
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(config.get("MemorySize", 128)),
        "AWS_LAMBDA_FUNCTION_VERSION": config.get("Version", "$LATEST"),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": logging.get("LogGroup") or f"/aws/lambda/{name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": f"[$LATEST]{hashlib.md5(name.encode()).hexdigest()}",
        "_HANDLER": config.get("Handler", "index.handler"),
        **ministack.get("function_variables")(config),
        **ministack.get("function_credentials")(config),
    }
    if logging.get("LogFormat") == "JSON":
        environment["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
        environment["AWS_LAMBDA_LOG_LEVEL"] = logging.get("ApplicationLogLevel") or "INFO"
    return environment
