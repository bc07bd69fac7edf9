"""A person asks for a training."""

from typing import Any

import bus
import champions
from caller import Caller


def ask(model: str, caller: Caller) -> dict[str, Any]:
    """Say so on the bus; the train machine admits it, or not."""
    champions.published(model)
    return {"cause": bus.request("TrainingRequested", model, caller)}
