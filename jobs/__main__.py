"""`python -m jobs <verb>`: the entry point of the job image. Each verb imports only what it needs."""

from __future__ import annotations

import importlib
import os
import sys
import traceback

from jobs import contract

VERBS = {
    "prepare": "validate the data against model.yaml and split it by time",
    "train": "run the model's training script under SageMaker's training toolkit",
    "evaluate": "score champion and challenger on the same held-out rows; write the monitor's baseline",
    "profile": "count one shard of a window that is larger than an instance takes",
    "analyze": "compare a window of captured requests, predictions and labels with the baseline",
    "serve": "answer GET /ping and POST /invocations",
}


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in VERBS:
        print(
            "usage: python -m jobs <verb>\n\n"
            + "\n".join(f"  {verb:<9} {does}" for verb, does in VERBS.items())
        )
        return 0 if arguments in (["--help"], ["-h"]) else 2
    # OpenMP's threads wait for each other by spinning; where a job does not have its cores to itself, that
    # took a fit from 4 s to 17 s. BLAS has nothing here that is worth a second thread.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    verb = arguments[0]
    try:
        return importlib.import_module(f"jobs.{verb}").main() or 0
    except contract.JobError as error:
        message = str(error)
    except (
        Exception
    ) as error:  # the last line of defence: whatever happened is told to the machine that waits
        traceback.print_exc()
        message = f"{type(error).__name__}: {error}"
    print(f"{verb} failed: {message}", file=sys.stderr)
    (contract.write_failure if verb == "train" else contract.write_message)(message)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
