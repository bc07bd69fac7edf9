"""A model's own rules: found violations, passed rules, and every way in which a rule can be wrong."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from jobs.contract import JobError
from jobs.monitor import rules
from jobs.monitor.profile import profile
from jobs.monitor.schema import Field, Schema
from jobs.monitor.window import Problems, Window
from jobs.spec import BINARY, Spec

SCHEMA = Schema(
    {"price": Field("price", "number"), "city": Field("city", "string")}, "id", "made", "y", (), BINARY
)


def test_a_rule_in_python_sees_the_profile_and_the_rows(tmp_path):
    (tmp_path / "limits.py").write_text("MOST = 2\n")
    entries, found = _python(
        tmp_path,
        """
import pyarrow.compute as pc
from limits import MOST

def check(profile, window):
    yield f"{profile.rows} rows, {profile.columns['price'].missing} without a price"
    highest = pc.max(window["price"]).as_py()
    if highest > MOST:
        yield dict(description="too dear", feature_name="price", metric="max", value=highest, threshold=MOST)
""",
    )
    assert entries[0] | {"reason": ""} == {
        "name": "rules.py",
        "kind": "python",
        "status": "violated",
        "reason": "",
        "violations": 2,
    }
    assert found[0]["description"] == "4 rows, 1 without a price"
    assert found[1] == {
        "feature_name": "price",
        "constraint_check_type": "custom_rule_check",
        "description": "too dear",
        "metric": "max",
        "value": 30.0,
        "threshold": 2.0,
        "severity": "notify",
    }


@pytest.mark.parametrize("returned", ["'too dear'", "{'description': 'too dear'}"])
def test_one_violation_needs_no_list(tmp_path, returned):
    _, found = _python(tmp_path, f"def check(profile, window):\n    return {returned}\n")
    assert [one["description"] for one in found] == ["too dear"]


@pytest.mark.parametrize("returned", ["[]", "None"])
def test_nothing_found_is_passed(tmp_path, returned):
    entries, found = _python(tmp_path, f"def check(profile, window):\n    return {returned}\n")
    assert (entries[0]["status"], found) == ("passed", [])


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("import nothing_like_it", "ModuleNotFoundError: No module named 'nothing_like_it'"),
        ("def check(profile, window):\n    return window['prize']", "KeyError"),
        ("x = 1", "defines no check"),
        ("def check(profile, window):\n    return [3]", "must return sentences"),
        ("def check(profile, window):\n    return [object()]", "must return sentences"),
        ("def check(profile, window):\n    return [{'description': 'x', 'sort': 1}]", "returned sort"),
        (
            "def check(profile, window):\n    return [{'description': 'x', 'severity': 'panic'}]",
            "returned the severity 'panic'",
        ),
        (
            "def check(profile, window):\n    return [{'description': 'x', 'value': 'many'}]",
            "'many', which is no",
        ),
        ("def check(profile, window):\n    import os\n    os._exit(3)", "ended with code 3"),
        ("def check(profile, window):\n    while True: pass", "stopped after 3 seconds"),
        ("def check(profile, window):\n    return bytearray(1 << 36)", "MemoryError"),
    ],
)
def test_a_script_that_cannot_be_checked_has_failed_and_says_why(tmp_path, script, words):
    entries, found = _python(tmp_path, script, timeout=3 if "while" in script else 60)
    assert (entries[0]["status"], found) == ("failed", [])
    assert words in entries[0]["reason"]


def test_a_script_that_is_not_there_has_failed(tmp_path):
    entries, _ = _run(tmp_path, {"python": "rules.py"})
    assert "rules.py" in entries[0]["reason"]


def test_a_rule_does_not_inherit_credentials(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    _, found = _python(tmp_path, "import os\ndef check(profile, window):\n    return [','.join(os.environ)]")
    assert "AWS" not in found[0]["description"]


def test_rows_that_a_query_returns_break_the_rule(tmp_path):
    dear = {
        "name": "dear",
        "query": "SELECT id, price FROM captured WHERE price > 10",
        "description": "too dear",
        "severity": "retrain",
    }
    late = {"name": "late", "query": "SELECT date_trunc('day', made) FROM captured WHERE made < '2020-01-01'"}
    entries, found = _run(tmp_path, {"sql": [dear, late]})
    assert [entry["status"] for entry in entries] == ["violated", "passed"]
    assert found == [
        {
            "feature_name": "dear",
            "constraint_check_type": "custom_rule_check",
            "description": "too dear: id=(not shown), price=20.0; id=(not shown), price=30.0",
            "metric": "dear",
            "value": 2.0,
            "threshold": 0.0,
            "severity": "retrain",
        }
    ]


def test_what_tells_of_a_person_is_shown_by_another_name_alone(tmp_path):
    """Descriptions are in logs and e-mails."""
    query = "SELECT ID, price, id AS order_number FROM captured WHERE id = 'b'"
    chosen = {"sql": [{"name": "dear", "query": query}]}
    _, (found,) = _run(tmp_path, chosen, protected=("price",))
    shown = found["description"].removeprefix("dear: ").split(", ")
    assert [part.lower() for part in shown] == ["id=(not shown)", "price=(not shown)", "order_number=b"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT * FROM read_csv('/etc/passwd')", "disabled by configuration"),
        ("SELECT * FROM '/etc/passwd'", "does not exist"),
        ("SELECT * FROM glob('/*')", "disabled by configuration"),
        ("COPY captured TO '/tmp/captured.csv'", "one SELECT"),
        ("ATTACH '/tmp/other.db'", "one SELECT"),
        ("INSTALL httpfs", "one SELECT"),
        ("SET enable_external_access = true", "one SELECT"),
        ("DROP VIEW captured", "one SELECT"),
        ("SELECT 1; SELECT 2", "one SELECT"),
        ("", "one SELECT"),
        ("SELECT prize FROM captured", "prize"),
        ("SELEC 1", "syntax"),
    ],
)
def test_a_query_sees_the_window_and_nothing_else(tmp_path, query, words):
    entries, found = _run(
        tmp_path, {"sql": [{"name": "x", "query": query}, {"name": "y", "query": "SELECT 1"}]}
    )
    assert (entries[0]["status"], entries[1]["status"]) == ("failed", "violated")
    assert words in entries[0]["reason"]
    assert len(found) == 1


def test_a_query_without_an_end_is_stopped_and_the_next_one_is_asked(tmp_path):
    endless = "WITH RECURSIVE r AS (SELECT 1 i UNION ALL SELECT i + 1 FROM r) SELECT count(*) FROM r"
    queries = [{"name": "endless", "query": endless}, {"name": "other", "query": "SELECT 1 WHERE false"}]
    entries, _ = _run(tmp_path, {"sql": queries}, timeout=8)
    assert [entry["status"] for entry in entries] == ["failed", "passed"]
    assert "stopped after 4 seconds" in entries[0]["reason"]


def test_a_model_without_rules_starts_no_process(tmp_path):
    assert _run(tmp_path, None) == ([], [])


def test_what_is_no_violation_is_named():
    with pytest.raises(JobError, match="mine"):
        rules.violation_of("mine", 1)
    assert rules.violation_of("mine", {"description": "x", "value": float("inf")})["value"] is None


def _python(folder, script, timeout=60.0):
    (folder / "rules.py").write_text(script)
    return _run(folder, {"python": "rules.py"}, timeout)


def _run(folder, chosen, timeout=60.0, protected=()):
    monitor = {"rules": chosen}
    spec = Spec("m", BINARY, "y", "id", "made", {}, "inference.py", protected=protected, monitor=monitor)
    window = _window()
    stored = folder / "profile.npz"
    profile(window.table.to_batches(), SCHEMA, block=None).save(stored)
    return rules.run(spec, folder, rules.rows_of(window), stored, timeout)


def _window():
    at = int(datetime(2026, 3, 2, tzinfo=UTC).timestamp() * 1e6)
    return Window(
        SCHEMA,
        pa.table({"price": [1.0, 20.0, None, 30.0], "city": ["x", "y", None, "x"]}),
        pa.table({"prediction": [0.0, 1.0, 0.0, 1.0], "probability": [0.1, 0.9, 0.2, 0.8]}),
        pa.array(["a", "b", "c", "d"]),
        np.full(4, at),
        np.full(4, at),
        pa.array([0.0, 1.0, None, 1.0]),
        Problems(),
    )
