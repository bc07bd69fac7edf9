"""train runs the script through AWS's toolkit and reports what the script itself said."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.train import failure_reason, last_exception
from tests.jobs.conftest import Job


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


def test_the_flights_model_is_trained(trained: Job) -> None:
    assert (trained.input("challenger") / "model.tar.gz").stat().st_size > 10_000


def test_a_crashing_script_is_reported_in_its_own_words(job: Job, code: Path) -> None:
    (code / "train.py").write_text(
        "print('fitting')\nraise ValueError('no row has a label\\nsee the data')\n"
    )
    job.prepare_training(code, None)
    done = job.run("train")
    assert done.returncode == 1
    assert job.failure == "ValueError: no row has a label\nsee the data"
    assert "fitting" in done.stdout
    assert "Traceback" in done.stderr, "the log keeps the whole traceback"


def test_a_script_that_ends_with_a_code_of_its_own(job: Job, code: Path) -> None:
    (code / "train.py").write_text("import argparse\nargparse.ArgumentParser(prog='train.py').parse_args()\n")
    job.prepare_training(code, None, depth="4")
    assert job.run("train").returncode == 1
    expected = (
        "the training script ended with exit code 2: train.py: error: unrecognized arguments: --depth 4"
    )
    assert job.failure == expected


def test_a_script_that_is_killed(job: Job, code: Path) -> None:
    (code / "train.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    job.prepare_training(code, None)
    assert job.run("train").returncode == 1
    assert job.failure == "the training script was killed by signal 9: out of memory?"


def test_a_script_that_leaves_no_model(job: Job, code: Path) -> None:
    (code / "train.py").write_text("open('model.joblib', 'w').write('in the wrong folder')\n")
    job.prepare_training(code, None)
    assert job.run("train").returncode == 1
    assert job.failure == "the training script ended without a model: it wrote no file to SM_MODEL_DIR"


def test_one_of_several_instances_may_leave_no_model(job: Job, code: Path) -> None:
    (code / "train.py").touch()
    job.prepare_training(code, None)
    resources = job.base / "input" / "config" / "resourceconfig.json"
    resources.write_text(resources.read_text().replace('["algo-1"]', '["algo-1", "algo-2"]'))
    assert job.run("train").returncode == 0, job.failure


def test_a_script_that_is_not_there(job: Job, code: Path) -> None:
    (code / "other.py").touch()
    job.prepare_training(code, None)
    assert job.run("train").returncode != 0
    assert "train.py" in job.failure


def test_a_script_reports_its_failure_itself(job: Job, code: Path) -> None:
    (code / "train.py").write_text(
        "import os, pathlib, sys\n"
        "folder = pathlib.Path(os.environ['SM_OUTPUT_DIR'])\n"
        "folder.mkdir(parents=True, exist_ok=True)\n"
        "(folder / 'failure').write_text('the moon is wrong')\n"
        "sys.exit(1)\n"
    )
    job.prepare_training(code, None)
    assert job.run("train").returncode == 1
    assert job.failure == "the moon is wrong"


def test_the_last_of_chained_exceptions_is_the_one() -> None:
    lines = [
        "Traceback (most recent call last):",
        '  File "train.py", line 1, in <module>',
        "KeyError: 'late'",
        "",
        "The above exception was the direct cause of the following exception:",
        "",
        "Traceback (most recent call last):",
        '  File "train.py", line 3, in <module>',
        "    raise ValueError(text)",
        "ValueError: no column late",
    ]
    assert last_exception(lines) == "ValueError: no column late"
    assert last_exception(["all is well"]) is None


def test_the_toolkits_own_traceback_is_not_the_scripts() -> None:
    reported = 'ExecuteUserScriptError:\nExitCode 1\nErrorMessage ""\nCommand "python train.py"'
    lines = ["2026 sagemaker-training-toolkit ERROR Reporting training FAILURE"]
    lines += ["Traceback (most recent call last):", "Oh: no"]
    assert failure_reason(lines, reported) == "the training script ended with exit code 1: no message"
