"""What the model looks at, in the baseline and in a window: files around attribution and explainer."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.contract import JobError
from jobs.monitor import attribution, explainer
from jobs.monitor.attribution import Explained
from jobs.monitor.window import Window
from jobs.spec import Spec

VALUES, BACKGROUND = "attribution.npz", "background.parquet"


@dataclass(frozen=True)
class Reference:
    """Of the baseline: attributions of rows of the holdout, and the rows that stand for "not this value"."""

    values: Explained
    background: pa.Table

    @property
    def weights(self) -> dict[str, float]:
        """Share of the mean |SHAP| by feature; they sum to 1."""
        shares = attribution.shares(self.values.values)
        return {name: float(share) for name, share in zip(self.values.features, shares, strict=True)}

    def save(self, folder: Path) -> None:
        self.values.save(folder / VALUES)
        pq.write_table(self.background, folder / BACKGROUND)

    @classmethod
    def load(cls, folder: Path) -> Reference | None:
        """None where the baseline was made without. Raises JobError for files that are not ours."""
        if not (folder / VALUES).is_file():
            return None
        try:
            background = pq.ParquetFile(folder / BACKGROUND).read()
        except (OSError, pa.ArrowException) as error:
            raise JobError(f"the baseline's {BACKGROUND} cannot be read: {error}") from error
        return cls(Explained.load(folder / VALUES), background)


@dataclass(frozen=True)
class Explanation:
    """`figures` is analysis.json's `attribution`, None where there is nothing to say."""

    figures: dict[str, Any] | None = None
    violations: list[dict[str, Any]] = field(default_factory=list)


def learn(spec: Spec, model: Path, code: Path, holdout: Window) -> Reference:
    """Asks the extracted model, through its own script. Raises JobError where it cannot be explained."""
    background = explainer.pick_background(holdout.table, spec)
    values = explainer.explain(model, code, spec, holdout.table, holdout.times, background, is_baseline=True)
    return Reference(values, background)


def compare(
    spec: Spec, reference: Reference | None, window: Window, model: Path | None, code: Path | None
) -> Explanation:
    """A model that cannot be asked, or a baseline of other features, is no violation: the reason says so."""
    if reference is None or model is None or code is None:
        return Explanation()
    try:
        now = explainer.explain(model, code, spec, window.table, window.times, reference.background)
        found = attribution.compare(now, reference.values, attribution.Settings.of(spec))
    except JobError as error:
        return Explanation({"reason": str(error)})
    return Explanation(found.figures, found.violations)


def extract(artifact: Path, folder: Path) -> Path:
    """The model of a folder with a model.tar.gz. Raises JobError where there is none."""
    archive = next(iter(sorted(artifact.glob("*.tar.gz"))), None)
    if archive is None:
        raise JobError(f"the input `{artifact.name}` has no model.tar.gz")
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")
    return folder


def weights_of(reference: Reference | None) -> dict[str, float]:
    return reference.weights if reference and np.isfinite(reference.values.values).all() else {}
