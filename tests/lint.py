"""`python -m tests.lint`: the template and the state machines, by each linter that sees what the others miss.

cfn-lint reads the template as it is written and as SAM translates it (where IAM's action names show), and
each machine in a plain CloudFormation resource, the one place where it looks inside; `sam validate --lint` is
what an engineer runs before a deployment; `lint_asl` is the rest. One finding a line: `file:line: message`.
"""

import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from tests.lint_asl import MACHINES, ROOT, Finding, Machine, check, load
from tests.lint_translated import TEMPLATE, TranslationFailed, translated

KEPT = ROOT / ".cache/lint"
SAM = ROOT / ".tools/sam/bin/sam"
CFN_LINT = Path(sys.executable).with_name("cfn-lint")


def main() -> int:
    started = time.monotonic()
    machines, unreadable = read_machines()
    checks: list[Callable[[], Iterable[Finding]]] = [
        lambda: cfn_lint_source(),
        lambda: cfn_lint_translated(),
        lambda: sam_validate(),
        lambda: cfn_lint_machines(machines),
        lambda: [finding for machine in machines for finding in check(machine)],
    ]
    with ThreadPoolExecutor() as pool:
        batches = [unreadable, *pool.map(lambda run: list(run()), checks)]
    found = sorted({finding for batch in batches for finding in batch})
    for finding in found:
        print(finding)
    outcome = "clean" if not found else f"{len(found)} to repair"
    seconds = time.monotonic() - started
    print(f"lint: {TEMPLATE.name}, {len(machines)} state machines: {outcome} ({seconds:.0f} s)")
    return 1 if found else 0


def read_machines() -> tuple[list[Machine], list[Finding]]:
    """The machines, and a finding for each file that is not YAML."""
    machines, unreadable = [], []
    for file in sorted(MACHINES.glob("*.asl.yaml")):
        try:
            machines.append(load(file))
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            unreadable.append(Finding(f"{MACHINES.name}/{file.name}", line, f"YAML: {error.problem}"))
    return machines, unreadable


def cfn_lint_source() -> list[Finding]:
    return [
        Finding(TEMPLATE.name, match["Location"]["Start"]["LineNumber"], _message(match))
        for match in _cfn_lint(TEMPLATE)
    ]


def cfn_lint_translated() -> list[Finding]:
    """Findings in the translation, at the line of the resource in the template that it came from."""
    try:
        resources = translated()
    except TranslationFailed as error:
        return [Finding(TEMPLATE.name, 1, f"SAM: {error}")]
    file = _keep("translated.json", resources)
    lines = resource_lines()
    return [
        Finding(TEMPLATE.name, line_of(match["Location"]["Path"], lines), f"translated: {_message(match)}")
        for match in _cfn_lint(file)
    ]


def cfn_lint_machines(machines: list[Machine]) -> list[Finding]:
    """The machines in plain AWS::StepFunctions::StateMachine resources: rule E3601 reads those alone."""
    names = {f"{machine.name.title()}StateMachine": machine for machine in machines}
    role = "arn:aws:iam::123456789012:role/machine"
    resources = {
        name: {
            "Type": "AWS::StepFunctions::StateMachine",
            "Properties": {"RoleArn": role, "Definition": machine.definition},
        }
        for name, machine in names.items()
    }
    findings = []
    for match in _cfn_lint(_keep("machines.json", {"Resources": resources})) if resources else ():
        _, name, _, _, *path = match["Location"]["Path"]
        if path[-1:] == ["TimeoutSeconds"] and "'{%" in match["Message"]:
            continue  # in JSONata a timeout may be an expression, which cfn-lint's schema does not know
        findings.append(Finding(names[name].file, names[name].line(tuple(path)), _message(match)))
    return findings


def sam_validate() -> list[Finding]:
    """`sam validate --lint`, whose own message is the finding when it refuses the template."""
    environment = {
        **os.environ,
        "SAM_CLI_TELEMETRY": "0",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "-",
        "AWS_SECRET_ACCESS_KEY": "-",
    }
    command = [str(SAM), "validate", "--lint", "--template-file", str(TEMPLATE)]
    done = _run(command, environment)
    if done.returncode == 0:
        return []
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return [Finding(TEMPLATE.name, 1, f"sam validate: {line}") for line in lines]


def resource_lines() -> dict[str, int]:
    """The line of each resource in the template, by its logical id."""
    root = yaml.compose(TEMPLATE.read_text())
    resources = next(value for key, value in root.value if key.value == "Resources")
    return {key.value: key.start_mark.line + 1 for key, _ in resources.value}


def line_of(path: list[Any], lines: dict[str, int]) -> int:
    """The line of the template's resource that a translated one was made of: its id is the longest prefix."""
    name = str(path[1]) if len(path) > 1 else ""
    return (
        lines[max((known for known in lines if name.startswith(known)), key=len, default="")] if name else 1
    )


def _cfn_lint(file: Path) -> list[dict[str, Any]]:
    done = _run([str(CFN_LINT), "--format", "json", "--template", str(file)])
    if done.returncode and not done.stdout.strip().startswith("["):
        raise RuntimeError(f"cfn-lint fell over: {done.stderr.strip() or done.stdout.strip()}")
    return json.loads(done.stdout or "[]")


def _message(match: dict[str, Any]) -> str:
    """W3037 lists every action of the service."""
    return textwrap.shorten(f"{match['Rule']['Id']} {match['Message']}", 200, placeholder=" ...")


def _keep(name: str, template: dict[str, Any]) -> Path:
    KEPT.mkdir(parents=True, exist_ok=True)
    (KEPT / name).write_text(json.dumps(template, indent=1))
    return KEPT / name


def _run(command: list[str], environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=environment,
        cwd=ROOT,
        check=False,
    )


if __name__ == "__main__":
    sys.exit(main())
