"""profile: one shard of a window's capture files, counted. Shards merge (see analyze), so that a window
larger than one instance takes is counted by several at once.

Inputs: `capture` (this shard's data capture files), `baseline`, `code`, `labels` (all of them, may be
absent). Environment: WINDOW_START and WINDOW_END, UTC; SHARD names the shard where no instance does. Output:
`shard/<host>/`, a folder per instance, as all instances of a job upload to one place.
"""

from __future__ import annotations

import json
import os

from jobs import contract
from jobs import spec as model_spec
from jobs.monitor import shard
from jobs.monitor.baseline import Baseline
from jobs.monitor.schema import Schema


def main() -> None:
    spec = model_spec.load(contract.input_dir("code"))
    reference = Baseline.load(contract.input_dir("baseline"))
    made = shard.count(
        contract.input_dir("capture"),
        contract.optional_input_dir("labels"),
        Schema.of(spec),
        reference.edges,
        reference.layouts,
        reference.watch,
        contract.window(),
    )
    made.save(contract.output_dir("shard") / _host())
    message = f"{made.profile.rows:,} rows, {made.sample.labelled:,} of them labelled"
    contract.write_message(message)
    print(message)


def _host() -> str:
    path = contract.base() / "config" / "resourceconfig.json"
    if path.is_file():
        return json.loads(path.read_text()).get("current_host", "shard")
    return os.environ.get("SHARD", "shard")
