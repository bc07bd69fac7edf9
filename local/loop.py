"""python -m local loop: the whole loop on the example's data, from a published folder to a better successor,
and a faulty one after it that is rolled back.

Only the outside world is scripted (local/world.py). What the machines do is watched (local/watch.py), kept in
loop.json and shown in report.html. Ends with 0 only if the loop closed: two champions, the later one caused
by a violation, and the faulty version gone without a request lost that it did not fail itself.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from jobs.spec import duration
from local import compare, console, people, record, report, rollbacks, stack
from local.console import Console
from local.machine import ROOT
from local.memory import Memory
from local.watch import Watch
from local.wording import clock, grouped, iso
from local.world import MODEL, World

BEGIN = datetime(2013, 3, 1, tzinfo=UTC)
SUMMERS_END = datetime(2013, 8, 31, tzinfo=UTC)  # the storms of July, and the weeks after them
# The files of July are there, which the champion has not seen; and it is a day of bad weather, on which the
# stations report no pressure for many of the flights.
FAULTY_ON = datetime(2013, 8, 8, tzinfo=UTC)
REPEATED_ON = FAULTY_ON + timedelta(days=2)  # when the approval is delivered once more
FOLDER = stack.ROOT_DIR / "models" / MODEL
SUCCESSOR = stack.ROOT_DIR / "local" / "successor"  # files that replace those of FOLDER
MACHINES = {
    "onboard": "OnboardMachine",
    "train": "TrainMachine",
    "deploy": "DeployMachine",
    "batch": "BatchMachine",
    "monitor": "MonitorMachine",
    "respond": "RespondMachine",
}


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local loop", description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--until", type=date, default=SUMMERS_END, help="replay up to this day of 2013 (default 2013-08-31)"
    )
    parser.add_argument(
        "--rate",
        type=float,
        default=0,
        help="simulated days per second at most (default: as fast as it goes)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("out/loop"), help="where loop.json and report.html go"
    )
    parser.add_argument(
        "--port", type=int, help="of the local stack (default: 4566, or another that is free)"
    )
    parser.add_argument("--keep", action="store_true", help="leave the stack up at the end, until Ctrl-C")
    return parser.parse_args(arguments)


def date(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    screen = Console()
    try:
        with Memory() as memory, stack.running(port=options.port, progress=screen.say) as running:
            return follow(Loop(running, options, screen), memory)
    except stack.StackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the stack is stopped", file=sys.stderr)
        return 130


def follow(loop: Loop, memory: Memory) -> int:
    """Runs the loop, and however it ends keeps what happened; the exit status."""
    broken: BaseException | None = None
    try:
        loop.run()
    except (Exception, KeyboardInterrupt) as error:
        broken = error
        loop.screen.say(f"stopped: {described(error)}; keeping what happened so far")
    kept = loop.record(memory.peak_mb, broken)
    loop.tell(kept)
    if isinstance(broken, KeyboardInterrupt):
        return 130
    if loop.options.keep:
        loop.screen.say(f"the stack stays up on {loop.stack.url}; Ctrl-C stops it")
        loop.stack.process.wait()
    return 0 if kept["closed"] and broken is None else 1


class Loop:
    """One run in one stack."""

    def __init__(self, running: stack.Stack, options: argparse.Namespace, screen: Console) -> None:
        self.stack, self.options, self.screen = running, options, screen
        self.spec = yaml.safe_load((FOLDER / "model.yaml").read_text(encoding="utf-8"))
        machines = {name: running.outputs[key] for name, key in MACHINES.items()}
        self.watch = Watch(running.client("stepfunctions"), machines, screen.say)
        iam = running.client("iam")
        self.person = people.hire(iam, "evergreen-owner", running.api_url, stack.REGION)
        traffic = people.hire(iam, "evergreen-traffic", running.api_url, stack.REGION)
        self._scratch = tempfile.TemporaryDirectory(prefix="evergreen-")
        data = Path(self._scratch.name)
        every = duration(self.spec["monitor"]["every"])
        s3, bucket = running.client("s3"), running.outputs["Bucket"]
        self.world = World(self.watch, running.clock, s3, bucket, traffic, self.person, data, every)
        self._month = BEGIN.month

    def run(self) -> None:
        with self.watch:
            self.world.begin(BEGIN)
            self.screen.say(
                f"world   1 March 2013; {self.world.sent.files} files of data, then {FOLDER.name} published"
            )
            self.publish(FOLDER)
            self.world.expect()
            self.world.wait()
            self.needs_champion()
            self.world.plan(FAULTY_ON, self.publish_successor)
            self.world.plan(REPEATED_ON, self.deliver_again)
            self.world.replay(self.options.until, self.show_progress, self.options.rate)

    def needs_champion(self) -> None:
        """Without one there is nothing to ask for predictions."""
        if not any(execution.ended_in == "ModelDeployed" for execution in self.watch.executions()):
            raise RuntimeError("no model came into service")

    def publish_successor(self) -> None:
        """New code of the model, with a defect that its held-out rows cannot show."""
        files = ", ".join(sorted(path.name for path in SUCCESSOR.glob("*.py")))
        self.screen.say(f"world   {FAULTY_ON:%-d %B}: a faster {files} is published, with a defect")
        with tempfile.TemporaryDirectory(prefix="evergreen-") as scratch:
            ignored = shutil.ignore_patterns("__pycache__")
            folder = Path(shutil.copytree(FOLDER, Path(scratch) / MODEL, ignore=ignored))
            shutil.copytree(SUCCESSOR, folder, ignore=ignored, dirs_exist_ok=True)
            self.publish(folder)

    def deliver_again(self) -> None:
        """EventBridge may deliver an event twice: here the last approval, days after it was answered."""
        shipped = [execution for execution in self.watch.executions() if execution.machine == "deploy"][-1]
        self.screen.say(f"world   {REPEATED_ON:%-d %B}: {shipped.cause['text']} is delivered once more")
        self.stack.client("stepfunctions").start_execution(
            stateMachineArn=self.stack.outputs[MACHINES["deploy"]], input=json.dumps(shipped.event)
        )

    def publish(self, folder: Path) -> None:
        """As anyone would: the command of models/publish.py."""
        command = [
            sys.executable,
            "-m",
            "models.publish",
            str(folder),
            "--bucket",
            self.stack.outputs["Bucket"],
        ]
        aws = ROOT | {"AWS_ENDPOINT_URL": self.stack.url, "AWS_DEFAULT_REGION": stack.REGION}
        done = subprocess.run(
            command, env=os.environ | aws, cwd=stack.ROOT_DIR, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"publishing {folder} failed: {done.stderr.strip() or done.stdout.strip()}")

    def show_progress(self) -> None:
        sent, now = self.world.sent, self.world.now
        self.screen.status(f"        world   {now:%d %B}, {grouped(sent.predictions)} predictions")
        if now.month != self._month:
            self._month = now.month
            self.screen.say(f"world   {now:%B} begins: {grouped(sent.predictions)} predictions so far")

    def record(self, peak_mb: int, broken: BaseException | None) -> dict:
        """The run as loop.json has it; what cannot be read any more is left out and said."""
        sent, seconds = self.world.sent, self.screen.seconds
        executions = self.watch.executions()
        kept = {
            "model": MODEL,
            "primary": self.spec["gate"]["primary"],
            "quality": self.spec["monitor"]["quality"]["metric"],
            "closed": False,
            "missing": None,
            "world": {"from": iso(BEGIN), "until": iso(self.world.now)},
            "seconds": {"setup": setup_seconds(), "run": round(seconds, 1)},
            "peak_mb": peak_mb,
            "counts": {
                "requests": sent.requests,
                "predictions": sent.predictions,
                "labels": sent.labels,
                "files": sent.files,
                "failures": len(sent.failures),
                "lost": len(sent.failures),
            },
            "executions": [record.execution_record(execution, self.watch.began) for execution in executions],
        }
        kept |= {
            "champions": [],
            "windows": [],
            "decisions": [],
            "deployments": [],
            "rollbacks": [],
            "before_after": [],
            "weeks": [],
        }
        try:
            kept |= self.findings(kept["executions"])
            kept["counts"]["lost"] = rollbacks.lost(kept["rollbacks"], len(sent.failures))
            kept |= self.compared(kept)
        except Exception as error:
            self.screen.say(f"the record is not whole: {described(error)}")
            broken = broken or error
        kept["missing"] = record.missing(kept["champions"], kept["executions"], kept["windows"])
        if self.world.now > REPEATED_ON:
            kept["missing"] = kept["missing"] or rollbacks.unsafe(kept)
        kept["closed"] = kept["missing"] is None
        if broken and not kept["closed"]:
            kept["missing"] += f". The run stopped: {described(broken)}"
        kept["seconds"]["run"] = round(self.screen.seconds, 1)
        return kept

    def findings(self, executions: list[dict]) -> dict:
        """What the ledger, the bucket and CloudWatch say of the run; executions with causes in words."""
        client = self.stack.client
        bucket = self.stack.outputs["Bucket"]
        reader = record.Reader(MODEL, self.person, client("s3"), client("cloudwatch"), bucket)
        champions = reader.champions()
        deployments = reader.deployments(self.watch.executions(), champions)
        rows = reader.history("DeploymentStarted", "DeploymentRolledBack", "DeploymentDropped")
        return {
            "champions": champions,
            "windows": reader.windows(),
            "decisions": reader.decisions(),
            "deployments": deployments,
            "rollbacks": rollbacks.rollbacks(rows, deployments),
            "executions": [found | {"cause": reader.worded(found["cause"])} for found in executions],
        }

    def compared(self, kept: dict) -> dict:
        """Each champion beside the one before, on the same rows."""
        if len(kept["champions"]) < 2:
            return {}
        self.screen.say("compare champion and successor score the same rows, in Transform jobs")
        return compare.changes(self.bench(), kept["champions"], kept["windows"], self.world.now)

    def bench(self) -> compare.Bench:
        client, outputs = self.stack.client, self.stack.outputs
        return compare.Bench(client("sagemaker"), client("s3"), outputs["Bucket"], outputs["JobRoleArn"])

    def tell(self, kept: dict) -> None:
        """Writes the files, prints the timeline and the tables, and what it cost."""
        screen, seconds = self.screen, kept["seconds"]
        paths = record.save(kept, self.options.out, report.write)
        blocks = (console.timeline, console.champions, rollbacks.told, console.before_after)
        for block in filter(None, (told(kept) for told in blocks)):
            screen.block(block)
        for failure in dict.fromkeys(self.world.sent.failures):
            screen.block(f"not answered: {failure}")
        setup = f"set-up {clock(seconds['setup'])}, " if seconds["setup"] is not None else ""
        memory = f"{kept['peak_mb'] / 1024:.1f} GB of memory at the peak"
        screen.block(f"{setup}run {clock(seconds['run'])}, {memory}\n" + "\n".join(map(str, paths)))
        screen.block("The loop closed." if kept["closed"] else f"The loop did not close: {kept['missing']}.")


def described(error: BaseException) -> str:
    return "interrupted" if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}"


def setup_seconds() -> float | None:
    """What `make` measured of the set-up before it started this process."""
    measured = os.environ.get("EVERGREEN_SETUP_SECONDS")
    return float(measured) if measured else None
