"""The process that checks a model's own rules: its code and its queries run here, not in the monitor.

python -m jobs.monitor.rules_process <task as JSON> <rows.arrow> <results.jsonl>

A line per rule, written as soon as it is checked: {name, kind, reason, found}.
"""

from __future__ import annotations

import json
import resource
import sys
import threading
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa

MEMORY = 6 << 30  # bytes of address space beside the rows, which are mapped
QUERY_MEMORY = "1GB"
SHOWN = 3  # rows of a query's answer that its violation quotes
# No file, no network, no extension: a query sees the window and nothing else.
CONFINED = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "memory_limit": QUERY_MEMORY,
    "threads": "2",
    "lock_configuration": "true",
}


def main(task: str, table: str, output: str) -> None:
    content = json.loads(task)
    limit = MEMORY + Path(table).stat().st_size
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    rows = pa.ipc.open_file(pa.memory_map(table)).read_all()
    with Path(output).open("w") as out:
        if "script" in content:
            _check_script(Path(content["script"]), Path(content["profile"]), rows, out)
        else:
            _check_queries(content, rows, out)


def _check_script(path: Path, profile: Path, rows: pa.Table, out: TextIO) -> None:
    from jobs.inference import load_script
    from jobs.monitor.profile import Profile

    rule = {"name": path.name, "kind": "python"}
    try:
        script = load_script(path.parent, path.name)
        if not hasattr(script, "check"):
            raise AttributeError(f"{path.name} defines no check(profile, window)")
        found = script.check(Profile.load(profile), rows)
        if isinstance(found, str | dict):  # one violation, not a list of letters or keys
            found = [found]
        found = list(found) if found is not None else []
    except Exception as error:  # whatever the owner's code raises is the rule's own failure
        _write(out, rule, f"{type(error).__name__}: {error}", [])
    else:
        _write(out, rule, "", found)


def _check_queries(task: dict[str, Any], rows: pa.Table, out: TextIO) -> None:
    import duckdb

    timeout, private = task["timeout"], task["private"]
    for query in task["queries"]:
        rule = {"name": str(query["name"]), "kind": "sql"}
        # A database of its own: what one query creates or drops, the next does not see.
        with duckdb.connect(":memory:", config=CONFINED) as database:
            database.register("captured", rows)
            try:
                found = _ask(database, query, timeout, private)
            except duckdb.InterruptException:
                _write(out, rule, f"stopped after {timeout:g} seconds", [])
            except (duckdb.Error, ValueError) as error:
                _write(out, rule, str(error).strip().replace("\n", " "), [])
            else:
                _write(out, rule, "", found)


def _ask(database: Any, query: dict[str, Any], timeout: float, private: list[str]) -> list[dict[str, Any]]:
    """One violation where the query returns rows, with how many and the first of them, but for what is in
    `private` columns: the description goes to logs and e-mails."""
    import duckdb

    statements = duckdb.extract_statements(query["query"])
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise ValueError("a rule is one SELECT")
    alarm = threading.Timer(timeout, database.interrupt)
    alarm.start()
    try:
        answer = database.execute(query["query"])
        names = [column[0] for column in answer.description]
        first = answer.fetchmany(SHOWN)
        count = len(first) + sum(len(batch) for batch in iter(lambda: answer.fetchmany(10_000), []))
    finally:
        alarm.cancel()
    if not count:
        return []
    said = query.get("description") or query["name"]
    shown = "; ".join(
        ", ".join(
            f"{name}={'(not shown)' if name.lower() in private else value}"
            for name, value in zip(names, row, strict=True)
        )
        for row in first
    )
    more = f"; and {count - len(first)} more" if count > len(first) else ""
    return [
        {
            "description": f"{said}: {shown}{more}",
            "metric": str(query["name"]),
            "value": count,
            "threshold": 0,
            "severity": query.get("severity"),
        }
    ]


def _write(out: TextIO, rule: dict[str, str], reason: str, found: list[Any]) -> None:
    try:
        line = json.dumps({**rule, "reason": reason, "found": found}, default=float)
    except (TypeError, ValueError):
        reason = (
            f"{rule['name']} must return sentences or dictionaries with a description, not {found!r:.200}"
        )
        line = json.dumps({**rule, "reason": reason, "found": []})
    out.write(line + "\n")
    out.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
