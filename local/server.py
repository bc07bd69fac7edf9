"""The local stack's one process: MiniStack, patched, with the SageMaker service and the virtual clock inside.

`python -m local` and tests start it as a child through local/stack.py. Its settings are environment variables
that local/stack.py sets before the first import, because MiniStack reads its own at import.
"""

import asyncio
import json
import logging
import os
import signal
import threading
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config

from local import (
    alarms,
    autoscaling,
    buses,
    callbacks,
    clock,
    delivery,
    executor,
    httpapi,
    machinelogs,
    machines,
    ministack,
    permissions,
    schedules,
    storage,
)  # fmt: skip
from local.accounts import Accounts
from local.lambdas import Pool
from local.machine import Machine
from local.sagemaker.runtime import handle_invoke

Asgi = Callable[[dict, Callable[[], Awaitable[dict]], Callable[[dict], Awaitable[None]]], Awaitable[None]]
CLOCK_PATH = "/_evergreen/clock"
log = logging.getLogger("local")


def build(root: Path, port: int) -> tuple[Asgi, Callable[[], None]]:
    """The ASGI application with everything installed, and the function that ends every subprocess."""
    ministack.check()
    url = f"http://127.0.0.1:{port}"
    host = Machine(url, os.environ["MINISTACK_REGION"], None, float(os.environ["TIME_SCALE"]))
    pool = Pool(root / "lambda")
    accounts = Accounts(host, root / "sagemaker")
    executor.install(pool, url, accounts.service)
    permissions.install()
    machines.install(host, accounts.service)
    callbacks.install(host.time_scale)
    machinelogs.install()
    buses.install()
    delivery.install(host)
    schedules.install(host)
    alarms.install(host)
    httpapi.install()
    storage.install(host)
    autoscaling.install(accounts)
    ministack.add_service("sagemaker", _sagemaker(accounts))
    clock.before_move(accounts.flush_capture)

    def close() -> None:
        pool.close()
        accounts.close()

    return _with_clock(ministack.get("asgi")), close


def _sagemaker(accounts: Accounts) -> Callable[..., Awaitable[tuple]]:
    async def handle(method: str, path: str, headers: dict, body: bytes, query: dict) -> tuple:
        service = accounts.service()
        if path.startswith("/endpoints/"):
            return await handle_invoke(service, method, path, headers, body, query)
        status, answered, answer = await service.handle_request(method, path, headers, body, query)
        answered.pop("x-amzn-RequestId", None)  # MiniStack sets it
        return status, answered, answer

    return handle


def _with_clock(application: Asgi) -> Asgi:
    """GET and POST /_evergreen/clock beside MiniStack's own paths."""

    async def asgi(scope: dict, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] != CLOCK_PATH:
            return await application(scope, receive, send)
        status, answer = 200, {}
        try:
            if scope["method"] == "POST":
                # In a thread: what became due starts executions, which call this server.
                await asyncio.to_thread(move_clock, json.loads(await _body(receive) or b"{}"))
        except (ValueError, TypeError, AttributeError) as error:
            status, answer = 400, {"message": str(error)}
        answer |= {"now": clock.now().isoformat(), "frozen": clock.is_frozen()}
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

    return asgi


async def _body(receive: Callable[[], Awaitable[dict]]) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body


def move_clock(request: dict[str, Any]) -> None:
    """{"now": ISO time, "frozen": bool} sets the clock, {"advance": seconds} moves it."""
    if "now" in request:
        moment = datetime.fromisoformat(request["now"].replace("Z", "+00:00"))
        clock.set(moment, frozen=bool(request.get("frozen", False)))
    elif "advance" in request:
        clock.advance(float(request["advance"]))
    else:
        raise ValueError('the clock takes {"now": "<ISO time>"} or {"advance": <seconds>}')


async def _serve(application: Asgi, port: int) -> None:
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 1
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(application, config, shutdown_trigger=stop.wait)


def _end_with_parent(parent: int) -> None:
    """SIGTERM for this process when its parent is gone, however the parent ended."""

    def watch() -> None:
        while os.getppid() == parent:
            threading.Event().wait(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def main() -> None:
    logging.basicConfig(level=os.environ.get("LOG_LEVEL", "INFO"), format="%(asctime)s %(name)s %(message)s")
    port = int(os.environ["GATEWAY_PORT"])
    _end_with_parent(int(os.environ["EVERGREEN_PARENT"]))
    root, code = Path(os.environ["EVERGREEN_ROOT"]), 0
    application, close = build(root, port)
    try:
        asyncio.run(_serve(application, port))
    except Exception:
        log.exception("the local stack fails")
        code = 1
    finally:
        close()
        (root / "server.pid").unlink(missing_ok=True)
    os._exit(code)  # MiniStack's threads may wait for ever


if __name__ == "__main__":
    main()
