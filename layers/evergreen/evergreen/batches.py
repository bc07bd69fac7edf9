"""What a model without an endpoint is to score: files of JSON lines under `batch/<model>/input/`, each
version of each once. A batch is one transform job over one or more of them."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from . import names
from .events import Cause
from .ledger import ABSENT, Item, Ledger, Write, history, put

# A batch, its history and its files are one transaction, of a hundred items at most.
MOST_INPUTS = 50
# In bytes: what S3 copies in one call. A file is pinned by a copy, as a transform reads the newest version.
LARGEST = 5 * 1024**3
SUFFIX = ".jsonl"
# Others would have to be escaped in a copy's source.
NAME = re.compile(r"[\w.=/-]+", re.ASCII)
# What a batch makes of its files.
STARTED, SCORED, FAILED = "Started", "Scored", "Failed"


@dataclass(frozen=True)
class Input:
    """A file by its name under the model's input folder."""

    name: str
    version: str
    size: int


def inputs(model: str) -> str:
    """The folder of what is to be scored."""
    return f"batch/{model}/input/"


def outputs(model: str) -> str:
    """The folder of what was: `<name>.out` for each input."""
    return f"batch/{model}/output/"


def pinned(model: str, batch: str) -> str:
    """The folder of a batch's copies of its inputs; a lifecycle rule deletes them after a week."""
    return f"pinned/{model}/{batch}/"


def id(model: str, cause: Cause) -> str:
    """One batch per cause."""
    return f"{model}-{names.digest(f'batch:{cause.key}')}"


def unfit(each: Input) -> str:
    """Why a file cannot be scored; empty where it can."""
    if not each.name.endswith(SUFFIX):
        return f"{each.name} is not a file of JSON lines: its name does not end in {SUFFIX}"
    if not NAME.fullmatch(each.name):
        return f"{each.name} has more in its name than letters, digits and . _ - = /"
    if "input/" in each.name:  # its output would look like an input
        return f"{each.name} lies in a folder called input"
    if not each.size:
        return f"{each.name} is empty"
    if each.size > LARGEST:
        return f"{each.name} is larger than 5 GB: split it"
    return ""


def is_new(each: Input, known: Item | None, again: Collection[str] = ()) -> bool:
    """Whether that version has not been scored, or came to one of the ends `again` before."""
    return known is None or known["version"] != each.version or known["status"] in again


def claim(model: str, each: Input, known: Item | None, batch: str) -> Write:
    """Take a file for a batch; refused where it is not as it was `known` any more."""
    item = {"version": each.version, "batch": batch, "status": STARTED}
    if known is None:
        return put(model, f"INPUT#{each.name}", item, ABSENT)
    unchanged = "#version = :version AND #batch = :batch AND #status = :status"
    return put(
        model,
        f"INPUT#{each.name}",
        item,
        unchanged,
        **{name: known[name] for name in ("version", "batch", "status")},
    )


def ended(ledger: Ledger, plan: dict[str, Any], files: list[dict[str, Any]], status: str) -> list[Write]:
    """Files of a batch that have come to their end. One that a later batch has taken is left to that."""
    writes = []
    for each in files:
        key = f"INPUT#{each['name']}"
        item = ledger.need(plan["model"], key)
        if item["batch"] == plan["batch"]:
            ours = "#batch = :batch"
            writes.append(put(plan["model"], key, item | {"status": status}, ours, batch=plan["batch"]))
    return writes


def told(plan: dict[str, Any], kind: str, files: list[dict[str, Any]], execution: str, **more: Any) -> Write:
    """The history row of files that have come to their end together."""
    return history(
        plan["model"],
        plan["cause"]["at"],
        kind,
        plan["batch"],
        batch=plan["batch"],
        version=plan["version"],
        package_arn=plan["packageArn"],
        inputs=[{"name": each["name"], "version": each["version"]} for each in files],
        cause=plan["cause"],
        execution=execution,
        **more,
    )


def transform(batch: dict[str, Any], files: int) -> dict[str, Any]:
    """`serve.batch` in SageMaker's words, for so many files: an instance takes whole files."""
    return {
        "instance": batch["instance"],
        "count": min(batch["count"], files),
        "strategy": {"many": "MultiRecord", "single": "SingleRecord"}[batch["records"]],
        "payload": batch["payload_mb"],
        "concurrency": batch["concurrency"],
    }
