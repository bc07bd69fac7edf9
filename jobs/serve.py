"""serve: the model container. GET /ping answers 200 once the model is loaded; POST /invocations predicts.

Environment: SAGEMAKER_PROGRAM (default inference.py), SAGEMAKER_SUBMIT_DIRECTORY (s3://.../source.tar.gz, a
tar.gz, a folder, or absent for the model's own `code/`), SAGEMAKER_BIND_TO_PORT (8080),
SAGEMAKER_BIND_TO_HOST (0.0.0.0), SAGEMAKER_MODEL_SERVER_WORKERS (1), SAGEMAKER_MAX_PAYLOAD_IN_MB (6),
EVERGREEN_DEPLOYMENT (whose answers the log tells in numbers; none by default). What it logs carries no row of
data.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication

from jobs import contract
from jobs.answers import SMOKE_TEST, Telling
from jobs.inference import JSON, JSON_LINES, BadInput, Predictor, UnsupportedType

MEGABYTE = 1024 * 1024
STATUSES = {
    200: "200 OK",
    400: "400 Bad Request",
    404: "404 Not Found",
    413: "413 Payload Too Large",
    415: "415 Unsupported Media Type",
    500: "500 Internal Server Error",
}
Response = tuple[int, bytes, str]


def main() -> None:
    # Requests are small: one OpenMP thread answers them faster than several that first have to meet.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    code = code_folder(os.environ.get("SAGEMAKER_SUBMIT_DIRECTORY", ""), contract.base())
    _Server(contract.base() / "model", code, os.environ.get("SAGEMAKER_PROGRAM", "inference.py")).run()


def code_folder(source: str, base: Path) -> Path:
    """The folder of the inference script; downloads and unpacks it where needed."""
    if not source:
        return base / "model" / "code"
    if source.startswith("s3://"):
        source = str(_download(source, base / "source.tar.gz"))
    if not Path(source).is_file():
        return Path(source)
    folder = base / "code"
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(source) as archive:
        archive.extractall(folder, filter="data")
    return folder


def _download(uri: str, path: Path) -> Path:
    import boto3  # 0.3 s that a container with its code at hand does not spend

    bucket, _, key = uri.removeprefix("s3://").partition("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    boto3.client("s3").download_file(bucket, key, str(path))
    return path


def application(
    predictor: Predictor, telling: Telling | None = None
) -> Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]:
    """The WSGI application around a loaded model; `telling` hears of its answers, but to a smoke test."""

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        status, body, content_type = respond(predictor, environ)
        is_test = environ.get("HTTP_X_AMZN_SAGEMAKER_CUSTOM_ATTRIBUTES") == SMOKE_TEST
        if telling and status == 200 and body and not is_test:
            telling.see(body)
        start_response(STATUSES[status], [("Content-Type", content_type), ("Content-Length", str(len(body)))])
        return [body]

    return app


def respond(predictor: Predictor, environ: dict[str, Any]) -> Response:
    route = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    if route == ("GET", "/ping"):
        return 200, b"", "text/plain"
    if route != ("POST", "/invocations"):
        return _problem(404, f"{route[0]} {route[1]}: there are only GET /ping and POST /invocations")
    length, most = int(environ.get("CONTENT_LENGTH") or 0), largest_body()
    if length > most:
        return _problem(413, f"the request has {length:,} bytes, at most {most:,} are taken")
    content_type = environ.get("CONTENT_TYPE") or JSON_LINES
    accept = environ.get("HTTP_ACCEPT") or "*/*"
    accept = JSON_LINES if "*/*" in accept else accept
    try:
        body, response_type = predictor.invoke(environ["wsgi.input"].read(length), content_type, accept)
    except BadInput as error:
        return _problem(400, str(error), error.errors)
    except UnsupportedType as error:
        return _problem(415, str(error))
    except Exception as error:  # the script's: the caller gets its name, the log its traceback
        environ["wsgi.errors"].write(_traceback(error))
        return _problem(500, f"{type(error).__name__}: {error}")
    return 200, body, response_type


def largest_body() -> int:
    """In bytes: what a batch transform says that it will send, else InvokeEndpoint's own limit (and a
    transform's, which does not say)."""
    return int(os.environ.get("SAGEMAKER_MAX_PAYLOAD_IN_MB", "6")) * MEGABYTE


def _problem(status: int, message: str, errors: list[dict[str, Any]] | None = None) -> Response:
    content: dict[str, Any] = {"message": message} | ({"errors": errors} if errors else {})
    return status, json.dumps(content).encode(), JSON


def _traceback(error: Exception) -> str:
    import traceback

    return "".join(traceback.format_exception(error))


class _Server(BaseApplication):
    """gunicorn, configured in code. The model is loaded in each worker: frameworks with threads do not
    survive a fork. A worker accepts connections only after `load`, so /ping cannot answer before the
    model is there."""

    def __init__(self, model_dir: Path, code_dir: Path, entry: str):
        self._model = (model_dir, code_dir, entry)
        super().__init__()

    def load_config(self) -> None:
        host = os.environ.get("SAGEMAKER_BIND_TO_HOST", "0.0.0.0")
        settings = {
            "bind": f"{host}:{os.environ.get('SAGEMAKER_BIND_TO_PORT', '8080')}",
            "workers": int(os.environ.get("SAGEMAKER_MODEL_SERVER_WORKERS", "1")),
            "worker_class": "gthread",
            "threads": 4,
            "timeout": 0,  # a large model loads for minutes; SageMaker watches /ping and long requests itself
            "graceful_timeout": 20,
            "keepalive": 75,  # longer than the router's idle connections
            "control_socket_disable": True,
            "loglevel": "warning",
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Callable[..., Iterable[bytes]]:
        model_dir, code_dir, entry = self._model
        deployment = os.environ.get("EVERGREEN_DEPLOYMENT")
        return application(Predictor(model_dir, code_dir, entry), Telling(deployment) if deployment else None)
