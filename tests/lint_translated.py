"""The SAM template as CloudFormation gets it: translated offline by SAM's own translator.

The translator lives with the SAM CLI (`.tools/sam`), whose pins do not go with the project's: this file is
imported by the project's interpreter and run, as a script, by the SAM CLI's. No account and no network:
managed policies, which SAM asks IAM for, come from the short list below.
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "template.yaml"
SAM_PYTHON = ROOT / ".tools/sam/bin/python"
REGION = "us-east-1"

# Names of managed policies that a template may use by name; anything else must be given by its ARN.
MANAGED_POLICIES = {
    name: f"arn:aws:iam::aws:policy/service-role/{name}"
    for name in ("AWSLambdaBasicExecutionRole", "AWSLambdaVPCAccessExecutionRole")
} | {"AWSXRayDaemonWriteAccess": "arn:aws:iam::aws:policy/AWSXRayDaemonWriteAccess"}


class TranslationFailed(Exception):
    """SAM's translator refused the template; the message is the translator's own."""


def translated(template: Path = TEMPLATE) -> dict[str, Any]:
    """The translated template, kept under `.cache/` by its content: a translation takes about a second."""
    content = template.read_bytes() + Path(__file__).read_bytes()
    kept = ROOT / ".cache/lint" / f"{hashlib.sha256(content).hexdigest()[:16]}.json"
    if not kept.exists():
        command = [str(SAM_PYTHON), __file__, str(template)]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise TranslationFailed(done.stderr.strip().splitlines()[-1])
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(done.stdout)
    return json.loads(kept.read_text())


class _ManagedPolicies:
    """What SAM's validator asks for managed policies, without asking IAM."""

    def load(self) -> dict[str, str]:
        return MANAGED_POLICIES


def _translate(template: Path) -> str:
    """Runs under the SAM CLI's interpreter; `sam validate` translates by the same class."""
    from samcli.lib.translate.sam_template_validator import SamTemplateValidator
    from samcli.yamlhelper import yaml_parse

    validator = SamTemplateValidator(yaml_parse(template.read_text()), _ManagedPolicies(), region=REGION)
    return json.dumps(yaml_parse(validator.get_translated_template_if_valid()), indent=1)


if __name__ == "__main__":
    print(_translate(Path(sys.argv[1])))
