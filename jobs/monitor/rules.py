"""The model's own rules, declared in model.yaml's `monitor.rules`:

- `python: rules.py`: `check(profile, window)` gets the window's Profile and its rows as an Arrow table, and
  returns a list of violations: a sentence each, or {description, feature_name, metric, value, threshold,
  severity}.
- `sql: [{name, query, description, severity}]`: DuckDB over the table `captured`; rows that a query returns
  break it.

`severity` says what a broken rule is for: `notify` (the default), a person; `retrain`, a training, where it
repeats.

The rows have the features, `prediction` and what else the model answers, `label` (null where unknown) and
the columns of model.yaml's `id` and `time` (UTC). A rule that cannot be checked is reported as failed, with
its words; it is no violation, as a mistake in a rule is no reason to train a model.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from jobs.contract import JobError
from jobs.monitor import guarded
from jobs.monitor.window import Window
from jobs.spec import Spec

CHECK = "custom_rule_check"
PROCESS = "jobs.monitor.rules_process"
TIMEOUT = 60.0  # seconds, of rules.py and of all queries together
MOST = 100  # violations of a rule that are kept
LONGEST = 1000  # characters of a description
KEYS = {"description", "feature_name", "metric", "value", "threshold", "severity"}
SEVERITIES = ("notify", "retrain")
Entry = dict[str, Any]


def run(
    spec: Spec, code: Path, rows: pa.Table, profile: Path, timeout: float = TIMEOUT
) -> tuple[list[Entry], list[Entry]]:
    """(an entry for each rule: {name, kind, status, reason, violations}, where status is passed, violated or
    failed and `violations` how many; the violations as in analysis.json). `code`: the model's folder;
    `profile`: the window's profile.npz."""
    chosen = spec.monitor.get("rules") or {}
    script, queries = chosen.get("python"), chosen.get("sql") or []
    results: list[Entry] = []
    if not (script or queries):
        return [], []
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "rows.arrow")
        with pa.OSFile(str(table), "wb") as file, pa.ipc.new_file(file, rows.schema) as writer:
            writer.write_table(rows)
        if script:
            task = {"script": str((code / script).resolve()), "profile": str(profile.resolve())}
            results += _checked([{"name": script, "kind": "python"}], task, table, timeout)
        if queries:
            named = [{"name": str(query["name"]), "kind": "sql"} for query in queries]
            task = {
                "queries": queries,
                "timeout": timeout / 2,
                "private": [name.lower() for name in spec.private],
            }
            results += _checked(named, task, table, timeout)
    violations = [violation for result in results for violation in result["found"]]
    entries = [{**result, "violations": len(result["found"])} for result in results]
    return [{key: value for key, value in entry.items() if key != "found"} for entry in entries], violations


def rows_of(window: Window) -> pa.Table:
    """What rules see of a window. Where a feature has the name of another column, the feature stays."""
    table, schema = window.table, window.schema
    others = dict(zip(window.answers.column_names, window.answers.columns, strict=True))
    others["label"] = window.label
    others[schema.id] = window.ids
    others[schema.time] = pa.array(window.times, pa.timestamp("us"))
    for name, column in others.items():
        if name and name not in table.column_names:
            table = table.append_column(name, column)
    return table


def violation_of(rule: str, found: Any) -> Entry:
    """A violation of analysis.json, from what a rule returned. Raises JobError where it is none."""
    if isinstance(found, str):
        found = {"description": found}
    if not isinstance(found, dict) or not isinstance(found.get("description"), str):
        raise JobError(f"{rule} must return sentences or dictionaries with a description, not {found!r:.200}")
    if not found.keys() <= KEYS:
        raise JobError(
            f"{rule} returned {', '.join(sorted(map(str, found.keys() - KEYS)))}: none of {sorted(KEYS)}"
        )
    if (found.get("severity") or SEVERITIES[0]) not in SEVERITIES:
        raise JobError(f"{rule} returned the severity {found['severity']!r}: none of {', '.join(SEVERITIES)}")
    return {
        "feature_name": str(found.get("feature_name") or rule),
        "constraint_check_type": CHECK,
        "description": found["description"][:LONGEST],
        "metric": str(found.get("metric") or rule),
        "value": _number(rule, found, "value"),
        "threshold": _number(rule, found, "threshold"),
        "severity": found.get("severity") or SEVERITIES[0],
    }


def _number(rule: str, found: Entry, key: str) -> float | None:
    value = found.get(key)
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise JobError(f"{rule} returned the {key} {value!r}, which is no number") from None
    return number if math.isfinite(number) else None


def _checked(named: Sequence[Entry], task: Entry, table: Path, timeout: float) -> list[Entry]:
    """Results of one process. What it did not come to, because it was stopped or fell, has failed."""
    output = table.with_name("results.jsonl")
    output.write_bytes(b"")
    stopped = "was not checked"
    try:
        guarded.run(PROCESS, [json.dumps(task), table, output], timeout)
    except JobError as error:
        stopped = str(error)
    done = list(_read(output))
    return done + [_failed(rule, stopped) for rule in named[len(done) :]]


def _read(output: Path) -> Iterator[Entry]:
    for line in output.read_text().splitlines(keepends=True):
        if not line.endswith("\n"):  # stopped while writing it
            return
        content = json.loads(line)
        rule = {"name": content["name"], "kind": content["kind"]}
        try:
            found = [violation_of(rule["name"], item) for item in content["found"][:MOST]]
        except JobError as error:
            yield _failed(rule, str(error))
            continue
        reason = content["reason"] or "; ".join(item["description"] for item in found[:3])
        status = "failed" if content["reason"] else "violated" if found else "passed"
        yield {**rule, "status": status, "reason": reason, "found": found}


def _failed(rule: Entry, reason: str) -> Entry:
    return {**rule, "status": "failed", "reason": reason, "found": []}
