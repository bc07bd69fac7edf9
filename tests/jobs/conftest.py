"""Jobs as SageMaker runs them: a process of their own, files in and out under SAGEMAKER_BASE_DIR."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from local import flights

ROOT = Path(__file__).parents[2]
FLIGHTS = ROOT / "models" / "flights"


@dataclass
class Job:
    """One job's base directory."""

    base: Path

    def run(self, verb: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "jobs", verb],
            cwd=self.base,
            env=os.environ
            | {"SAGEMAKER_BASE_DIR": str(self.base), "PYTHONPATH": str(ROOT), "SM_STUDIO_LOCAL_MODE": "True"}
            | environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def input(self, name: str) -> Path:
        path = self.base / "processing" / "input" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def copy_input(self, name: str, source: Path) -> Path:
        return Path(shutil.copytree(source, self.input(name), dirs_exist_ok=True))

    def output(self, name: str) -> Path:
        return self.base / "processing" / "output" / name

    def json(self, path: str) -> Any:
        return json.loads((self.base / "processing" / "output" / path).read_text())

    @property
    def message(self) -> str:
        return (self.base / "output" / "message").read_text()

    @property
    def failure(self) -> str:
        return (self.base / "output" / "failure").read_text()

    def prepare_training(self, code: Path, train: Path | None, **hyperparameters: str) -> None:
        """The layout of a training job: config files and the channels `code` and `train`."""
        config, data = self.base / "input" / "config", self.base / "input" / "data"
        config.mkdir(parents=True)
        shutil.copytree(code, data / "code")
        (data / "train").mkdir()
        if train:
            shutil.copy(train, data / "train")
        (self.base / "model").mkdir()
        settings = {"sagemaker_program": "train.py", "sagemaker_submit_directory": str(data / "code")}
        (config / "hyperparameters.json").write_text(json.dumps(settings | hyperparameters))
        (config / "inputdataconfig.json").write_text(
            json.dumps({name: {"TrainingInputMode": "File"} for name in ("train", "code")})
        )
        (config / "resourceconfig.json").write_text(
            json.dumps({"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "eth0"})
        )


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


@pytest.fixture(scope="session")
def january_and_february() -> pa.Table:
    """Every fourth flight of the two months, real rows in order of time."""
    table = flights.rows(datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 3, 1, tzinfo=UTC))
    return table.take(list(range(0, len(table), 4)))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, january_and_february: pa.Table) -> Job:
    """prepare, train and evaluate, once for all tests. `challenger` holds model.tar.gz."""
    prepared = Job(tmp_path_factory.mktemp("prepare"))
    pq.write_table(january_and_february, prepared.input("data") / "2013.parquet")
    prepared.copy_input("code", FLIGHTS)
    succeed(prepared.run("prepare"))

    training = Job(tmp_path_factory.mktemp("train"))
    training.prepare_training(FLIGHTS, prepared.output("train") / "train.parquet", iterations="20")
    succeed(training.run("train"))

    evaluated = Job(tmp_path_factory.mktemp("evaluate"))
    for name in ("train", "holdout"):
        evaluated.copy_input(name, prepared.output(name))
    evaluated.copy_input("code", FLIGHTS)
    with tarfile.open(evaluated.input("challenger") / "model.tar.gz", "w:gz") as archive:
        archive.add(training.base / "model", arcname=".")
    succeed(evaluated.run("evaluate"))
    return evaluated


def succeed(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stdout + done.stderr
