"""SageMaker's container contract, in one place: where a job finds its inputs, leaves its outputs, and
says why it failed. `SAGEMAKER_BASE_DIR` moves the whole tree away from /opt/ml."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

MESSAGE_BYTES = 1024  # DescribeProcessingJob's ExitMessage and DescribeTrainingJob's FailureReason hold 1,024


class JobError(Exception):
    """Why a job cannot do its work: one sentence that names the file, the column or the setting."""


def base() -> Path:
    return Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))


def input_dir(name: str) -> Path:
    """A processing input; raises JobError where the job was started without it."""
    path = base() / "processing" / "input" / name
    if not path.is_dir():
        raise JobError(f"the job has no input `{name}` ({path} does not exist)")
    return path


def optional_input_dir(name: str) -> Path | None:
    """A processing input that may be absent or empty."""
    path = base() / "processing" / "input" / name
    return path if path.is_dir() and any(path.iterdir()) else None


def output_dir(name: str) -> Path:
    path = base() / "processing" / "output" / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def write_message(text: str) -> None:
    """A processing job's ExitMessage."""
    _write(base() / "output" / "message", text)


def write_failure(text: str) -> None:
    """A training job's FailureReason."""
    _write(base() / "output" / "failure", text)


def write_json(path: Path, value: Any) -> None:
    """Strict JSON (no NaN: it would break every reader), in the order given."""
    path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Raises JobError for a file that is not there or is no JSON."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise JobError(f"{path.name} cannot be read: {error}") from error


def time_setting(name: str) -> datetime | None:
    """An ISO time from the environment, in UTC; None where it is absent or empty."""
    text = os.environ.get(name, "").strip()
    if not text:
        return None
    try:
        return parse_time(text)
    except ValueError:
        raise JobError(f"the environment's {name}={text!r} is not an ISO 8601 time") from None


def window() -> tuple[datetime, datetime]:
    """[WINDOW_START, WINDOW_END) of the environment."""
    start, end = time_setting("WINDOW_START"), time_setting("WINDOW_END")
    if start is None or end is None:
        raise JobError("the environment has no WINDOW_START and WINDOW_END")
    return start, end


def parse_time(text: str) -> datetime:
    """ISO 8601 with or without a zone (UTC then). Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def format_time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def span(times: Sequence[int]) -> dict[str, str]:
    """First and last of ascending times in microseconds, both inclusive."""
    first, last = (datetime.fromtimestamp(int(moment) / 1e6, UTC) for moment in (times[0], times[-1]))
    return {"from": format_time(first), "until": format_time(last)}


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.encode()[:MESSAGE_BYTES].decode(errors="ignore"))
