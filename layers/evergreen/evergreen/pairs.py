"""What a shadow answered beside what production did, to the same requests: data capture has both, under the
same `inferenceId`, which our API gives to each request."""

import json
import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from . import artifacts
from .capture import BROKEN

# Read of each variant, from the beginning of the observation on: some ten thousand requests.
MOST_BYTES = 20_000_000
HOUR = len("yyyy/mm/dd/hh/")


@dataclass(frozen=True)
class Agreement:
    """Over `rows` that both have answered: the share with another label, and the mean distance between the
    probabilities, or the numbers. None where the answers are no labels, or no numbers."""

    rows: int
    disagreement: float | None
    distance: float | None

    def as_dict(self) -> dict[str, Any]:
        """As it stands in the ledger."""
        rounded = {name: value and round(value, 6) for name, value in vars(self).items()}
        return rounded | {"rows": self.rows}


def agreement(bucket: str, endpoint: str, since: datetime) -> Agreement:
    """Of what was captured under `capture/<endpoint>/` and written after `since`. The hours in the paths are
    those of the requests; when a file was written is S3's to say."""
    ours, theirs = (f"capture/{endpoint}/{variant}/" for variant in ("shadow", "main"))
    files = list(written(bucket, ours, "", since))
    hour = files[0].removeprefix(ours)[:HOUR] if files else "9"
    shadow = dict(answers(bucket, files))
    return compare(dict(answers(bucket, written(bucket, theirs, theirs + hour, since))), shadow)


def compare(production: dict[str, list[Any]], shadow: dict[str, list[Any]]) -> Agreement:
    """By request: the answers to its rows."""
    rows = [
        pair
        for request in production.keys() & shadow.keys()
        if len(production[request]) == len(shadow[request])
        for pair in zip(production[request], shadow[request], strict=True)
    ]
    labels = [pair for pair in (tuple(map(_label, row)) for row in rows) if None not in pair]
    numbers = [pair for pair in (tuple(map(_number, row)) for row in rows) if None not in pair]
    return Agreement(
        len(rows),
        sum(a != b for a, b in labels) / len(labels) if labels else None,
        math.fsum(abs(a - b) for a, b in numbers) / len(numbers) if numbers else None,
    )


def written(bucket: str, prefix: str, after: str, since: datetime) -> Iterator[str]:
    """Keys of the files that were written after `since`, at most MOST_BYTES of them."""
    read = 0
    for found in artifacts.listing(bucket, prefix, after=after):
        if found["LastModified"] < since:
            continue
        yield found["Key"]
        read += found["Size"]
        if read >= MOST_BYTES:
            return


def answers(bucket: str, keys: Iterable[str]) -> Iterator[tuple[str, list[Any]]]:
    """(request, the answers to its rows); what is no answer of ours is left out."""
    for key in keys:
        for line in artifacts.read(bucket, key).splitlines():
            try:
                record = json.loads(line)
                yield record["eventMetadata"]["inferenceId"], _rows(record["captureData"]["endpointOutput"])
            except BROKEN:
                continue


def _rows(side: dict[str, Any]) -> list[Any]:
    if side["observedContentType"].startswith("application/jsonlines"):
        return [json.loads(line) for line in side["data"].splitlines() if line.strip()]
    return list(json.loads(side["data"])["predictions"])


def _label(answer: Any) -> str | None:
    """A class; a number that is none is None."""
    found = answer.get("prediction") if isinstance(answer, dict) else answer
    return str(found) if isinstance(found, str | int) else None


def _number(answer: Any) -> float | None:
    found = answer.get("probability", answer.get("prediction")) if isinstance(answer, dict) else answer
    if isinstance(found, bool) or not isinstance(found, int | float) or abs(found) > sys.float_info.max:
        return None
    return None if math.isnan(found) else float(found)
