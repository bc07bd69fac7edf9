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
from pyarrow import csv

from jobs.monitor.__main__ import main
from tests.monitor import demo
from tests.monitor.demo import START

MODEL = """
name: demo
task: binary_classification
target: label
id: id
time: at
features: {amount: {type: number, nullable: true}, age: integer, city: string, plan: string, member: boolean}
monitor: {every: 7d, min_rows: 500, quality: {metric: log_loss, tolerance: 0.05}, bias: {limits: {AD: 0.3}}}
"""
SCRIPT = """
def model_fn(folder):
    return None

def predict_fn(rows, model):
    chances = [0.1 + 0.6 * row["age"] / 90 for row in rows]
    return [{"prediction": int(chance > 0.5), "probability": chance} for chance in chances]
"""


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


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The folder of a model that looks at the age alone."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.yaml").write_text(MODEL)
    (folder / "inference.py").write_text(SCRIPT)
    return folder


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
    assert analysis["outcome"] == "1"
    assert analysis["violations"] == []


def test_a_model_is_asked_what_it_looks_at(
    files: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("--model", model, "--artifact", model)
    assert learn(files, *asked) == 1
    assert "give --model and --holdout" in capsys.readouterr().err
    assert learn(files, *asked, "--holdout", files / "current.parquet") == 0
    assert judge(files, *asked, "--data", files / "current.parquet") == 0
    found = json.loads((files / "window" / "analysis.json").read_text())["attribution"]
    assert found["ndcg"] == 1.0 and found["features"]["age"]["share"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("given", "wrong", "said"),
    [
        ("age: integer", "age: text", "features.age: 'text' is none of number, integer, string, boolean"),
        ("log_loss", "logloss", "monitor.quality.metric: 'logloss' is none of roc_auc, pr_auc, log_loss"),
        ("tolerance: 0.05", "tolerance: often", "monitor.quality.tolerance: 'often' is not a number"),
        ("min_rows: 500", "min_rows: many", "monitor.min_rows: 'many' is not a number"),
        ("AD: 0.3", "AD: lots", "monitor.bias.limits.AD: 'lots' is not a number"),
        ("AD: 0.3", "XY: 0.3", "monitor.bias names 'XY'"),
    ],
)
def test_a_model_yaml_that_was_never_published_is_checked(
    files: Path, model: Path, capsys: pytest.CaptureFixture[str], given: str, wrong: str, said: str
) -> None:
    (model / "model.yaml").write_text(MODEL.replace(given, wrong))
    assert learn(files, "--model", model, "--holdout", files / "current.parquet") == 1
    assert said in capsys.readouterr().err


def test_shards_are_counted_merged_and_judged(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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
    assert run("merge", tmp_path / "shards", tmp_path / "merged", "--output", tmp_path / "twice") == 1
    assert "merge: 0.parquet and 1 more would count twice" in capsys.readouterr().err


def test_files_of_two_folders_are_two_whatever_they_are_called_and_hold(files: Path) -> None:
    """As they are in one pass: of two days without a row, both files are a header."""
    learn(files, "--time", "at", "--id", "id")
    header = pq.read_table(files / "current.parquet").slice(0, 0)
    span = ["--start", "2026-03-01", "--end", "2026-03-08"]
    for day in ("day=1", "day=2"):
        (files / day).mkdir()
        csv.write_csv(header, files / day / "rows.csv")
        known = ["--baseline", files / "baseline", "--data", files / day, *span]
        assert run("profile", *known, "--output", files / "shards" / day) == 0
    assert run("merge", files / "shards", "--output", files / "merged") == 0


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


@pytest.mark.parametrize("flag", ["--capture", "--labels", "--state", "--pipeline", "--model", "--artifact"])
def test_a_misspelt_folder_is_no_empty_one(
    files: Path, capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    learn(files, "--time", "at")
    rows = () if flag == "--capture" else ("--data", files / "current.parquet")
    with pytest.raises(SystemExit):
        judge(files, *rows, flag, files / "nowhere")
    assert f"argument {flag}: there is no {files / 'nowhere'}" in capsys.readouterr().err


def test_csv_holds_text_that_looks_like_numbers(files: Path) -> None:
    """As training data in Parquet knows; ids keep their zeros. Beside a Parquet file of the same window."""
    digits = pa.array([f"0{index % 3}" for index in range(6000)])
    city = demo.train().column_names.index("city")
    pq.write_table(demo.train().set_column(city, "city", digits), files / "train.parquet")
    learn(files, "--time", "at", "--id", "id", "--protected", "region")
    table = pq.read_table(files / "current.parquet").drop_columns("label")
    table = table.set_column(table.column_names.index("city"), "city", digits.slice(0, 2000))
    ids = pa.array([f"{index:06}" for index in range(2000)])
    table = table.set_column(table.column_names.index("id"), "id", ids)
    csv.write_csv(table.slice(0, 1000), files / "one.csv")
    pq.write_table(table.slice(1000), files / "other.parquet")
    pq.write_table(table.select(["id", "city", "amount"]), files / "pipeline.parquet")
    rows = ("--data", files / "one.csv", files / "other.parquet", "--pipeline", files / "pipeline.parquet")
    assert judge(files, *rows) == 0
    analysis = json.loads((files / "window" / "analysis.json").read_text())
    assert analysis["violations"] == []
    assert analysis["skew"] == {
        "rows": 2000,
        "features": {"amount": {"different": 0.0}, "city": {"different": 0.0}},
    }


def test_files_of_one_holdout_may_differ_in_their_columns(files: Path) -> None:
    table = pq.read_table(files / "current.parquet")
    pq.write_table(table.slice(0, 900), files / "one.parquet")
    pq.write_table(table.slice(900).select(table.column_names[::-1]), files / "other.parquet")
    names = ("--time", "at", "--id", "id", "--target", "label", "--task", "binary_classification")
    assert learn(files, "--holdout", files / "one.parquet", files / "other.parquet", *names) == 0
    assert json.loads((files / "baseline" / "baseline.json").read_text())["rows"]["labelled"] == 2000


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        (
            "age",
            pa.array(["old"] * 2000),
            "the data files do not fit together: Unable to merge: Field row.age",
        ),
        ("age", None, "changed.parquet cannot be read: two of its columns are called `amount`"),
    ],
)
def test_files_that_do_not_fit_are_named(
    files: Path, capsys: pytest.CaptureFixture[str], column: str, values: pa.Array | None, said: str
) -> None:
    learn(files, "--time", "at")
    table = pq.read_table(files / "current.parquet")
    age = table.column_names.index(column)
    changed = table.set_column(age, *((column, values) if values is not None else ("amount", table[column])))
    pq.write_table(changed, files / "changed.parquet")
    assert judge(files, "--data", files / "current.parquet", files / "changed.parquet") == 1
    assert said in capsys.readouterr().err


def test_a_column_that_is_of_no_type_to_count_is_named(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = demo.train().append_column("born", pa.array([None] * 6000, pa.date32()))
    pq.write_table(train, files / "train.parquet")
    assert learn(files, "--time", "at", "--id", "id") == 0
    assert capsys.readouterr().out == "6,000 rows of 6 columns; not counted: born\n"


def test_folders_that_hold_something_else_are_told(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The window's folder in the place of its `state`, and one without shards."""
    learn(files, "--time", "at")
    judge(files, "--data", files / "current.parquet")
    assert judge(files, "--data", files / "current.parquet", "--state", files / "window") == 1
    assert "has no state.json: give the folder `state`" in capsys.readouterr().err
    assert run("merge", files / "window", "--output", files / "merged") == 1
    assert "window holds no shard: give what `profile` or `merge` wrote" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("prediction", None, "the holdout has no answers of the model: give it the column `prediction`"),
        (
            "label",
            ["yes", "no"],
            "2,000 of 2,000 labelled rows of the holdout cannot be scored: `label` must",
        ),
        ("label", [1.0, -1.0], "1,000 of 2,000 labelled rows of the holdout cannot be scored"),
        ("probability", [90.0, 10.0], "`label` must be 0 or 1, and `probability` between them"),
        ("id", [b"\xff", b"\xfe"], "the column `id` is of type binary: text or numbers are needed"),
        ("at", ["2.3.2026", "3.3.2026"], None),
        ("label", ["true", "False"], None),
        ("prediction", [True, False], None),
    ],
)
def test_a_holdout_that_windows_cannot_be_held_to_is_refused(
    files: Path,
    capsys: pytest.CaptureFixture[str],
    column: str,
    values: list[object] | None,
    said: str | None,
) -> None:
    names = ("--time", "at", "--id", "id", "--target", "label", "--task", "binary_classification")
    table = pq.read_table(files / "current.parquet")
    if values is None:
        table = table.drop_columns([column, "probability"])
    else:
        table = table.set_column(table.column_names.index(column), column, pa.array(values * 1000))
    pq.write_table(table, files / "holdout.parquet")
    assert learn(files, "--holdout", files / "holdout.parquet", *names) == (1 if said else 0)
    assert (said or "") in capsys.readouterr().err


@pytest.mark.parametrize("values", [["2.3.2026 12:00"], [1772366400.0], [None]])
def test_times_that_are_none_make_no_baseline(
    files: Path, capsys: pytest.CaptureFixture[str], values: list[object]
) -> None:
    table = demo.train()
    at = table.column_names.index("at")
    pq.write_table(table.set_column(at, "at", pa.array(values * len(table))), files / "train.parquet")
    assert learn(files, "--time", "at") == 1
    assert "no row of the training data has a time in the column `at`" in capsys.readouterr().err


def test_rows_of_other_times_do_not_count(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    learn(files, "--time", "at")
    window = ("--start", "2026-03-03T00:00Z", "--end", "2026-03-08T00:00Z")
    assert judge(files, "--data", files / "current.parquet", *window) == 0
    times = pq.read_table(files / "current.parquet")["at"].to_pylist()
    inside = sum("2026-03-03" <= at.date().isoformat() < "2026-03-08" for at in times)
    assert json.loads((files / "window" / "analysis.json").read_text())["rows"] == inside < 2000
    assert judge(files, "--data", files / "current.parquet", *window[:2]) == 1
    assert "--start and --end belong together" in capsys.readouterr().err
    turned = ("--start", window[3], "--end", window[1])
    assert judge(files, "--data", files / "current.parquet", *turned) == 1
    assert "--start 2026-03-08T00:00:00Z is not before --end" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_classes_come_with_their_probabilities(files: Path, suffix: str) -> None:
    """As a struct in Parquet, as JSON text in CSV; a column of dates is of no type that is counted, and no
    news either."""
    table = pq.read_table(files / "current.parquet").drop_columns("probability")
    chances = np.random.default_rng(5).dirichlet([1, 1, 1], len(table)).round(6)
    rows = [dict(zip("abc", chance.tolist(), strict=True)) for chance in chances]
    told = pa.array(rows) if suffix == "parquet" else pa.array([json.dumps(row) for row in rows])
    likely = pa.array([max(row, key=row.get) for row in rows])
    for name, values in (("label", likely), ("prediction", likely)):
        table = table.set_column(table.column_names.index(name), name, values)
    table = table.append_column("probabilities", told).append_column(
        "born", pa.array([None] * 2000, pa.date32())
    )
    train = demo.train().append_column("born", pa.array([None] * 6000, pa.date32()))
    pq.write_table(train, files / "train.parquet")
    path = files / f"rows.{suffix}"
    pq.write_table(table, path) if suffix == "parquet" else csv.write_csv(table, path)
    names = ("--time", "at", "--id", "id", "--target", "label", "--task", "multiclass_classification")
    assert learn(files, "--holdout", path, *names) == 0
    assert judge(files, "--data", path) == 0
    analysis = json.loads((files / "window" / "analysis.json").read_text())
    assert analysis["watched"] == "roc_auc" and analysis["quality"]["accuracy"]["value"] == 1.0
    expected = -np.log(chances.max(axis=1)).mean()
    assert analysis["quality"]["log_loss"]["value"] == pytest.approx(expected, abs=1e-6)
    assert analysis["violations"] == []
    other = pa.array(["z" if index % 40 == 0 else name for index, name in enumerate(likely.to_pylist())])
    label = table.column_names.index("label")
    pq.write_table(table.set_column(label, "label", other), files / "other.parquet")
    assert judge(files, "--data", files / "other.parquet") == 0
    [violation] = json.loads((files / "window" / "analysis.json").read_text())["violations"]
    assert violation["description"] == "2.5% of the labels are of a class that the model does not know"


def test_answers_that_lose_their_probabilities_are_told(files: Path) -> None:
    """The detector watches a loss that is made of them."""
    names = ("--time", "at", "--id", "id", "--target", "label", "--task", "binary_classification")
    learn(files, "--holdout", files / "current.parquet", *names)
    pq.write_table(
        pq.read_table(files / "current.parquet").drop_columns("probability"), files / "without.parquet"
    )
    assert judge(files, "--data", files / "without.parquet") == 0
    analysis = json.loads((files / "window" / "analysis.json").read_text())
    assert {(one["feature_name"], one["constraint_check_type"]) for one in analysis["violations"]} == {
        ("prediction", "completeness_check")
    }
    assert "no probabilities" in analysis["unjudged"]["detector"]
    assert analysis["unjudged"]["quality"].startswith("roc_auc is not defined on the 2,000 labelled rows")
    assert analysis["verdict"].endswith("2\u202f000 labels are known, on which ROC AUC is not defined.")


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
