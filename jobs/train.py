"""train: AWS's own training toolkit runs the model's script under SageMaker's script conventions.

It reads the hyperparameters `sagemaker_program` and `sagemaker_submit_directory`, sets every SM_* variable,
installs the folder's requirements.txt and passes the other hyperparameters as flags. This module adds two
things: the job's FailureReason is what the script raised, where the toolkit would only say that some command
ended with code 1; and a script that leaves no model fails the job, which SageMaker would call Completed.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from jobs import contract

TAIL_LINES = 400
TOOLKIT = "sagemaker-training-toolkit"
TOOLKIT_ENDS = "Reporting training FAILURE"  # what follows in the log is the toolkit's, not the script's


def main() -> int:
    from sagemaker_training import trainer

    # The toolkit ends in success (code 0) where it cannot write its failure file.
    (contract.base() / "output").mkdir(parents=True, exist_ok=True)
    with _stderr_tail() as tail:
        try:
            trainer.train()  # always ends in SystemExit
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
    if code:
        failure = contract.base() / "output" / "failure"
        reported = failure.read_text() if failure.exists() else ""
        contract.write_failure(failure_reason(list(tail), reported))
    elif _is_alone() and not any((contract.base() / "model").glob("*")):
        contract.write_failure("the training script ended without a model: it wrote no file to SM_MODEL_DIR")
        code = 1
    return code


def _is_alone() -> bool:
    """Of several instances one may write the model for all."""
    resources = contract.base() / "input" / "config" / "resourceconfig.json"
    return len(json.loads(resources.read_text())["hosts"]) == 1


def failure_reason(stderr: list[str], reported: str) -> str:
    """The sentence to report: the last exception in the script's stderr, or how it ended.

    `reported` is the toolkit's (or the script's own) failure file: kept where the script wrote it itself.
    """
    exit_code = re.search(r"^\w+Error:\nExitCode (-?\d+)", reported)
    if reported and not exit_code:
        return re.sub(r"^Framework Error: \n.*\n(?=\S)", "", reported, flags=re.DOTALL).strip()
    own = script_lines(stderr)
    exception = last_exception(own)
    if exception:
        return exception
    code = int(exit_code[1]) if exit_code else 1
    if code < 0 or code == 137:
        return f"the training script was killed by signal {abs(code) if code < 0 else 9}: out of memory?"
    said = next((line for line in reversed(own) if line.strip()), "no message")
    return f"the training script ended with exit code {code}: {said}"


def script_lines(stderr: list[str]) -> list[str]:
    """What the script wrote: from the toolkit's last line before it started to the toolkit's report."""
    end = next((index for index, line in enumerate(stderr) if TOOLKIT_ENDS in line), len(stderr))
    toolkits = [index for index, line in enumerate(stderr[:end]) if TOOLKIT in line]
    return stderr[toolkits[-1] + 1 if toolkits else 0 : end]


def last_exception(lines: list[str]) -> str | None:
    """`ValueError: message` of the last traceback; a message of several lines is kept whole."""
    starts = [
        index for index, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")
    ]
    if not starts:
        return None
    body = lines[starts[-1] + 1 :]
    first = next((index for index, line in enumerate(body) if line and not line.startswith(" ")), None)
    return "\n".join(body[first:]).strip() if first is not None else None


@contextmanager
def _stderr_tail() -> Iterator[deque[str]]:
    """Passes this process's and its children's stderr through and remembers the last lines."""
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    original = os.dup(2)
    reader, writer = os.pipe()
    os.dup2(writer, 2)
    os.close(writer)

    def copy() -> None:
        with os.fdopen(reader, errors="replace") as lines:
            for line in lines:
                os.write(original, line.encode())
                tail.append(line.rstrip("\n"))

    thread = threading.Thread(target=copy, daemon=True)
    thread.start()
    try:
        yield tail
    finally:
        os.dup2(original, 2)  # closes the pipe's last writer here; the thread sees the end
        thread.join(timeout=5)
        os.close(original)
