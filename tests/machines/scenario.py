"""A path through a machine, as data: its event, the stand-ins that differ from the usual, its states."""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.lint_asl import ROOT
from tests.machines.engine import Mock, Result, run


@dataclass(frozen=True)
class Scenario:
    """`path` reads "AdmitRun > IsAdmitted > TrainingDropped"; `usual` is what each Task answers else."""

    machine: str
    name: str
    sample: str
    path: str
    usual: Mapping[str, Mock] = field(repr=False)
    mocks: Mapping[str, Mock] = field(default_factory=dict, repr=False)

    @property
    def states(self) -> list[str]:
        return self.path.split(" > ")

    def run(self, **mocks: Mock) -> Result:
        """Runs it with some stand-ins changed."""
        return run(self.machine, event(self.sample), {**self.usual, **self.mocks, **mocks})

    @functools.cached_property
    def result(self) -> Result:
        return self.run()

    def __str__(self) -> str:
        return f"{self.machine}: {self.name}"


def event(sample: str) -> dict[str, Any]:
    """A sample of `events/`."""
    return json.loads((ROOT / "events" / f"{sample}.json").read_text())
