"""The template into a running stack by the real SAM CLI: `sam build` unless nothing changed, `sam deploy`."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import boto3

ROOT_DIR = Path(__file__).resolve().parent.parent
REGION = "us-east-1"
BUILD_INPUTS = ("template.yaml", "samconfig.toml", "functions", "layers", "statemachines")
Progress = Callable[[str], None]


class StackError(Exception):
    """The stack did not start or deploy; the message says what to do."""


def deploy_template(
    url: str, project: Path, progress: Progress, keys: dict[str, str], parameters: dict[str, str]
) -> dict[str, str]:
    """sam build (unless nothing changed) and sam deploy, with parameters beside those of samconfig.toml; the
    stack's outputs. keys: whose account."""
    build(project, progress)
    progress("sam deploy")
    command = ["deploy", "--config-env", "local"]
    command += ["--no-confirm-changeset", "--no-fail-on-empty-changeset", "--no-progressbar"]
    if parameters:  # the command line's replace those of the file
        given = tomllib.loads((project / "samconfig.toml").read_text())["local"]["deploy"]["parameters"]
        overrides = given["parameter_overrides"].split()
        command += ["--parameter-overrides", *overrides, *(f"{k}={v}" for k, v in parameters.items())]
    _sam(command, project, keys | {"AWS_ENDPOINT_URL": url, "AWS_DEFAULT_REGION": REGION})
    own = {key.lower(): value for key, value in keys.items()}
    cloudformation = boto3.client("cloudformation", endpoint_url=url, region_name=REGION, **own)
    stacks = cloudformation.describe_stacks()["Stacks"]
    ours = next(s for s in stacks if not s["StackName"].startswith("aws-sam-cli"))
    return {output["OutputKey"]: output["OutputValue"] for output in ours.get("Outputs", [])}


def build(project: Path, progress: Progress) -> None:
    """sam build, skipped where its inputs are what they were at the last one. One at a time in a folder."""
    folder = project / ".aws-sam"
    folder.mkdir(exist_ok=True)
    with (folder / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        marker, digest = folder / "inputs.sha256", _digest(project)
        if marker.exists() and marker.read_text() == digest and (folder / "build" / "template.yaml").exists():
            return
        progress("sam build")
        marker.unlink(missing_ok=True)
        _sam(["build"], project, {})
        marker.write_text(digest)


def _digest(project: Path) -> str:
    found = hashlib.sha256()
    for name in BUILD_INPUTS:
        path = project / name
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            if file.exists() and "__pycache__" not in file.parts:
                found.update(str(file.relative_to(project)).encode() + b"\0" + file.read_bytes() + b"\0")
    return found.hexdigest()


def _sam(arguments: list[str], project: Path, environment: dict[str, str]) -> None:
    tools = ROOT_DIR / ".tools" / "bin"
    sam = shutil.which("sam", path=f"{tools}{os.pathsep}{os.environ.get('PATH', '')}")
    if sam is None:
        raise StackError("the SAM CLI is not installed: run `make setup`")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    inherited["PATH"] = f"{tools}{os.pathsep}{inherited.get('PATH', os.defpath)}"
    result = subprocess.run(
        [sam, *arguments],
        cwd=project,
        env=inherited | environment | {"SAM_CLI_TELEMETRY": "0", "SAM_CLI_POLL_DELAY": "0.2"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if result.returncode:
        said = "\n".join((result.stdout + result.stderr).splitlines()[-40:])
        raise StackError(f"`sam {' '.join(arguments)}` failed:\n{said}")
