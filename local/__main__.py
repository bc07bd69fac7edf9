"""The whole product on this machine: `up` starts it, `loop` runs the loop in it, `down` stops it."""

import argparse
import signal
import sys
import time
from collections.abc import Sequence

from local import stack

STARTED = time.monotonic()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="up|loop|down")
    up = commands.add_parser("up", help="start the local stack and deploy the template; Ctrl-C stops it")
    up.add_argument("--port", type=int, help="default: 4566, or another that is free")
    up.add_argument(
        "--time-scale",
        type=float,
        default=stack.TIME_SCALE,
        help="SageMaker's and Step Functions' waits are divided by this (default %(default)s)",
    )
    up.add_argument(
        "--serving-account",
        metavar="ACCOUNT",
        help="deploy twice: what the first account trains, this one (12 digits) serves",
    )
    commands.add_parser("down", help="stop every local stack that was left running")
    commands.add_parser("loop", help="run the whole loop on the example data", add_help=False)
    known, rest = parser.parse_known_args(arguments)
    if known.command == "loop":
        from local import loop  # the example's data and the report need a second to import

        return loop.main(rest)
    parser.parse_args(arguments)  # only loop has arguments of its own
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        if known.command == "up":
            return _up(known.port, known.time_scale, known.serving_account)
        return _down()
    except stack.StackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _up(port: int | None, time_scale: float, serving_account: str | None) -> int:
    try:
        with stack.running(port=port, time_scale=time_scale, deploy=False, progress=_say) as running:
            deployed = _deploy(running, serving_account)
            _say("ready")
            for each in deployed:
                _describe(each)
            print("Ctrl-C stops it and everything that it started.", flush=True)
            if code := running.process.wait():
                print(f"error: the local stack ended with {code}; see {running.log}", file=sys.stderr)
            else:
                _say("stopped from outside")
            return 1 if code else 0
    except KeyboardInterrupt:
        _say("stopped")
        return 0


def _deploy(running: stack.Stack, serving_account: str | None) -> list[stack.Stack]:
    """The one stack, or the one that trains and the one that serves (docs/accounts.md)."""
    if not serving_account:
        running.deploy(progress=_say)
        return [running]
    serving = running.of(serving_account)
    running.deploy(progress=_say, ServingAccount=serving_account)
    bucket = running.outputs["Bucket"]
    serving.deploy(progress=_say, TrainingAccount=running.account, TrainingBucket=bucket)
    return [running, serving]


def _describe(running: stack.Stack) -> None:
    print(f"account {running.account}")
    width = max(map(len, running.outputs), default=0)
    for name, value in sorted(running.outputs.items()):
        print(f"  {name:{width}}  {value}")
    print(f"  {'API here':{width}}  {running.api_url}")
    print(f"  {'log':{width}}  {running.log}")
    print("\nuse it with:")
    print(f"  export AWS_ENDPOINT_URL={running.url} AWS_DEFAULT_REGION={stack.REGION}")
    print(f"  export AWS_ACCESS_KEY_ID={running.account} AWS_SECRET_ACCESS_KEY=test\n")


def _down() -> int:
    stopped = stack.stop_all()
    print(
        "stopped " + ", ".join(f"127.0.0.1:{port}" for port in stopped)
        if stopped
        else "no local stack is running"
    )
    return 0


def _say(text: str) -> None:
    print(f"[{time.monotonic() - STARTED:5.1f} s] {text}", flush=True)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
