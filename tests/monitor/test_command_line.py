"""`python -m jobs.monitor`, on its own: two data files are enough, and what is wrong has a name."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.monitor.__main__ import main
from tests.monitor import demo
from tests.monitor.demo import START


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Reference and current data of a model that has no model.yaml."""
    answers = demo.answers(demo.rows(2000, START, 7, seed=4))
    rows = demo.rows(2000, START, 7, seed=4)
    truth = demo.labels(rows, answers)
    given = {name: [answer[name] for answer in answers] for name in ("prediction", "probability")}
    current = demo.table(rows, truth)
    for name, values in given.items():
        current = current.append_column(name, pa.array(values, pa.float64()))
    pq.write_table(demo.train(), tmp_path / "train.parquet")
    pq.write_table(current, tmp_path / "current.parquet")
    return tmp_path


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def learn(files: Path, *more: object) -> int:
    return run("baseline", "--train", files / "train.parquet", "--output", files / "baseline", *more)


def judge(files: Path, *more: object) -> int:
    return run("analyze", "--baseline", files / "baseline", "--output", files / "window", *more)


def test_two_files_are_enough(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert learn(files, "--time", "at", "--id", "id", "--protected", "region") == 0
    assert judge(files, "--data", files / "current.parquet") == 0
    analysis = json.loads((files / "window" / "analysis.json").read_text())
    assert analysis["status"] == "Completed"
    assert set(analysis["features"]) == {"amount", "age", "city", "plan", "member"}
    assert "Job completed successfully" in capsys.readouterr().out
    (files / "window" / "report.html").unlink()
    assert (
        run("report", "--window", files / "window", "--baseline", files / "baseline", "--output", files) == 0
    )
    assert "Then and now" in (files / "report.html").read_text()


def test_a_holdout_brings_quality_and_groups(files: Path) -> None:
    names = ("--time", "at", "--id", "id", "--target", "label", "--protected", "region")
    task = ("--task", "binary_classification")
    assert learn(files, "--holdout", files / "current.parquet", *names, *task) == 0
    assert judge(files, "--data", files / "current.parquet") == 0
    analysis = json.loads((files / "window" / "analysis.json").read_text())
    assert analysis["quality"]["roc_auc"]["value"] == analysis["quality"]["roc_auc"]["baseline"]
    assert set(analysis["bias"]) == {"region=north", "region=south"}
    assert analysis["violations"] == []


def test_shards_are_counted_merged_and_judged(files: Path, tmp_path: Path) -> None:
    learn(files, "--time", "at", "--id", "id", "--protected", "region")
    table = pq.read_table(files / "current.parquet")
    for number in range(2):
        part = tmp_path / f"{number}.parquet"
        pq.write_table(table.slice(number * 1000, 1000), part)
        window = ("--start", "2026-03-02T00:00Z", "--end", "2026-03-09T00:00Z")
        output = tmp_path / "shards" / str(number)
        assert (
            run("profile", "--baseline", files / "baseline", "--data", part, *window, "--output", output) == 0
        )
    assert run("merge", tmp_path / "shards", "--output", tmp_path / "merged") == 0
    assert judge(files, "--shards", tmp_path / "merged") == 0
    assert json.loads((files / "window" / "analysis.json").read_text())["rows"] == 2000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--time", "when"), "the data has no column 'when', named as time"),
        (
            ("--time", "at", "--holdout", "HERE/train.parquet", "--target", "label"),
            "give --task and --target",
        ),
        (
            ("--time", "at", "--holdout", "HERE/train.parquet", "--target", "label", "--task", "regression"),
            "the holdout has no column `label`",
        ),
        (("--model", "HERE"), "the model's folder has no model.yaml"),
    ],
)
def test_a_baseline_that_cannot_be_made_says_why(
    files: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    assert learn(files, *(argument.replace("HERE", str(files)) for argument in arguments)) == 1
    assert said in capsys.readouterr().err


def test_a_window_that_cannot_be_judged_says_why(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert judge(files, "--data", files / "current.parquet") == 1
    assert "the baseline has no baseline.json" in capsys.readouterr().err
    learn(files, "--time", "at")
    assert judge(files, "--data", files / "nothing.parquet") == 1
    assert "nothing.parquet" in capsys.readouterr().err
    (files / "broken.csv").write_text("")
    assert judge(files, "--data", files / "broken.csv") == 1
    assert "broken.csv" in capsys.readouterr().err
    (files / "capture").mkdir()
    assert judge(files, "--capture", files / "capture") == 1
    assert "--start and --end" in capsys.readouterr().err


def test_mixed_types_and_a_renamed_column_are_named(files: Path) -> None:
    learn(files, "--time", "at", "--id", "id", "--protected", "region")
    table = pq.read_table(files / "current.parquet").to_pylist()
    lines = ["amount,years,city,plan,member,id,at"]
    for row in table:
        row["amount"] = "much" if row["id"].endswith("7") else row["amount"]
        values = [row["amount"], row["age"], row["city"], row["plan"], str(row["member"]).lower(), row["id"]]
        lines.append(
            ",".join("" if value is None else str(value) for value in [*values, row["at"].isoformat()])
        )
    (files / "mixed.csv").write_text("\n".join(lines))
    assert judge(files, "--data", files / "mixed.csv") == 0
    analysis = json.loads((files / "window" / "analysis.json").read_text())
    found = {(one["feature_name"], one["constraint_check_type"]): one for one in analysis["violations"]}
    assert ("amount", "data_type_check") in found
    assert "years" in found["age", "missing_column_check"]["description"]
    assert ("years", "extra_column_check") in found


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("at", pa.nulls(2000, pa.timestamp("us", "UTC")), "2,000 rows have no time by which"),
        ("id", pa.nulls(2000, pa.string()), "labelled rows"),
        ("label", pa.array(["maybe"] * 2000), "None of 2\u202f000 labels can be used"),
        ("label", pa.array([7.0] * 2000), "None of 2\u202f000 labels can be used"),
        ("id", pa.array(["same"] * 2000), "1 label is known"),
        ("age", pa.array(["old"] * 2000), "Values of another type in age"),
    ],
)
def test_nothing_passes_in_silence(
    files: Path, capsys: pytest.CaptureFixture[str], column: str, values: pa.Array, said: str
) -> None:
    """Times, ids and labels that are not there or none; a column keeps its name's case."""
    names = ("--time", "at", "--id", "id", "--target", "label", "--protected", "region")
    task = ("--task", "binary_classification")
    learn(files, "--holdout", files / "current.parquet", *names, *task)
    table = pq.read_table(files / "current.parquet")
    changed = table.set_column(table.column_names.index(column), column, values)
    pq.write_table(changed, files / "changed.parquet")
    assert judge(files, "--data", files / "changed.parquet") == 0
    assert said in capsys.readouterr().out


def test_an_empty_holdout_is_told(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pq.write_table(pq.read_table(files / "current.parquet").slice(0, 0), files / "empty.parquet")
    names = ("--time", "at", "--id", "id", "--target", "label", "--task", "binary_classification")
    assert learn(files, "--holdout", files / "empty.parquet", *names) == 1
    assert "the holdout has no rows" in capsys.readouterr().err


def test_one_column_one_row(tmp_path: Path) -> None:
    """Without time, id or model: rows are compared, and one row is too few."""
    pq.write_table(pa.table({"x": np.arange(100.0)}), tmp_path / "train.parquet")
    pq.write_table(pa.table({"x": [1.0]}), tmp_path / "current.parquet")
    assert learn(tmp_path) == 0
    assert judge(tmp_path, "--data", tmp_path / "current.parquet") == 0
    assert json.loads((tmp_path / "window" / "analysis.json").read_text())["status"] == "TooFewRows"


def test_help_comes_without_numpy() -> None:
    code = (
        "import sys; from jobs.monitor.__main__ import main\n"
        "try: main(['--help'])\n"
        "finally: assert 'numpy' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "baseline" in done.stdout and "report" in done.stdout
