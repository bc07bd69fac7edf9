"""What the local SageMaker remembers: one table of records per kind of resource, all in memory.

A record is the request that made it plus the status fields of its Describe answer, under the names that
botocore's shapes use, so that descriptions and summaries are projections of it. A name that begins with `_`
is private to the module that wrote it.
"""

import base64
import copy
import json
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from .errors import SageMakerError, invalid

Record = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """How SageMaker names a kind of resource, and how it complains about one."""

    noun: str
    arn: str
    exists: str
    missing: str
    exists_code: str = "ValidationException"
    missing_code: str = "ValidationException"
    newest_first: bool = False


_JOB_EXISTS = (
    "Job name must be unique within an AWS account and region, and a job with this name already "
    "exists ({arn})"
)
_JOB_MISSING = "Could not find requested job with name: {name}"
KINDS = {
    kind.noun: kind
    for kind in (
        Kind(
            "TrainingJob",
            "training-job",
            "Training job names must be unique within an AWS account and region, and a training job with "
            "this name already exists ({arn})",
            "Requested resource not found.",
            exists_code="ResourceInUse",
        ),
        Kind("ProcessingJob", "processing-job", _JOB_EXISTS, _JOB_MISSING, exists_code="ResourceInUse"),
        Kind("TransformJob", "transform-job", _JOB_EXISTS, _JOB_MISSING, exists_code="ResourceInUse"),
        Kind(
            "HyperParameterTuningJob",
            "hyper-parameter-tuning-job",
            "Hyperparameter tuning job names must be unique within an AWS account and region, and a tuning "
            "job with this name already exists ({arn})",
            "Amazon SageMaker can't find a tuning job with this name: {name}",
            exists_code="ResourceInUse",
            missing_code="ResourceNotFound",
        ),
        Kind(
            "ModelPackageGroup",
            "model-package-group",
            "Model Package Group already exists: {arn}",
            "ModelPackageGroup {arn} does not exist.",
        ),
        Kind(
            "ModelPackage",
            "model-package",
            "Model Package already exists: {arn}",
            "ModelPackage {arn} does not exist.",
        ),
        Kind(
            "Model",
            "model",
            'Cannot create already existing model "{arn}".',
            'Could not find model "{arn}".',
            newest_first=True,
        ),
        Kind(
            "EndpointConfig",
            "endpoint-config",
            'Cannot create already existing endpoint configuration "{arn}".',
            'Could not find endpoint configuration "{arn}".',
            newest_first=True,
        ),
        Kind(
            "Endpoint",
            "endpoint",
            'Cannot create already existing endpoint "{arn}".',
            'Could not find endpoint "{arn}".',
            newest_first=True,
        ),
    )
}


def now() -> datetime:
    return datetime.now(UTC)


def account_of(name_or_arn: str) -> str:
    """The account in an ARN of SageMaker's; empty for a name."""
    found = re.match(r"arn:[^:]+:sagemaker:[^:]+:(\d{12}):", name_or_arn)
    return found[1] if found else ""


class Store:
    """Records by kind and name. Each method is atomic; hold `lock` around several that belong together."""

    def __init__(self, region: str, account: str) -> None:
        self.lock = threading.RLock()
        self.tags: dict[str, dict[str, str]] = {}
        self._region = region
        self._account = account
        self._tables: dict[str, dict[str, Record]] = {noun: {} for noun in KINDS}

    def arn(self, noun: str, name_or_arn: str) -> str:
        """Of this account, unless an ARN names another."""
        account = account_of(name_or_arn) or self._account
        return f"arn:aws:sagemaker:{self._region}:{account}:{KINDS[noun].arn}/{self.name(name_or_arn)}"

    @staticmethod
    def name(name_or_arn: str) -> str:
        """Where an operation takes a name or an ARN: the name (`group/version` of a versioned package)."""
        return name_or_arn.split("/", 1)[1] if name_or_arn.startswith("arn:") else name_or_arn

    def create(self, noun: str, name: str, params: Record, **fields: Any) -> Record:
        """Keep a new record of the request's members and `fields`; raises if the name is taken."""
        arn = self.arn(noun, name)
        kind = KINDS[noun]
        created = now()
        with self.lock:
            if name in self._tables[noun]:
                raise SageMakerError(kind.exists_code, kind.exists.format(arn=arn, name=name))
            record = copy.deepcopy({key: value for key, value in params.items() if key != "Tags"})
            record |= {f"{noun}Name": name, f"{noun}Arn": arn}
            record |= {"CreationTime": created, "LastModifiedTime": created} | fields
            self._tables[noun][name] = record
            self.tags[arn] = {tag["Key"]: tag["Value"] for tag in params.get("Tags", [])}
        return record

    def get(self, noun: str, name: str) -> Record:
        """The record itself, not a copy; raises what SageMaker says of a name that it does not know."""
        with self.lock:
            record = self._tables[noun].get(self.name(name))
        if record is None:
            kind = KINDS[noun]
            short = self.name(name)
            raise SageMakerError(
                kind.missing_code, kind.missing.format(arn=self.arn(noun, short), name=short)
            )
        return record

    def find(self, noun: str, name: str) -> Record | None:
        with self.lock:
            return self._tables[noun].get(self.name(name))

    def update(self, noun: str, name: str, **fields: Any) -> Record:
        with self.lock:
            record = self.get(noun, name)
            record.update(fields, LastModifiedTime=now())
            return record

    def delete(self, noun: str, name: str) -> Record:
        with self.lock:
            record = self.get(noun, name)
            del self._tables[noun][self.name(name)]
            self.tags.pop(record[f"{noun}Arn"], None)
            return record

    def all(self, noun: str) -> list[Record]:
        with self.lock:
            return list(self._tables[noun].values())

    def snapshot(self, record: Record) -> Record:
        """A copy that no job thread writes to any more."""
        with self.lock:
            return copy.deepcopy({key: value for key, value in record.items() if not key.startswith("_")})


_PAGING = {"MaxResults", "NextToken", "SortBy", "SortOrder"}


def page(noun: str, records: Iterable[Record], params: Record) -> tuple[list[Record], str | None]:
    """One page of `records` as a List request filters, sorts and cuts them, and the token of the next.

    The token holds the last row's place in the order, not an offset: rows that come or go between two pages
    neither repeat nor hide others.
    """
    sort_by = params.get("SortBy", "CreationTime")
    field = {"Name": f"{noun}Name", "Status": f"{noun}Status"}.get(sort_by, sort_by)
    default_order = "Descending" if KINDS[noun].newest_first else "Ascending"
    descending = params.get("SortOrder", default_order) == "Descending"

    def place(record: Record) -> list[Any]:
        value = record.get(field, "")
        return [value.isoformat() if isinstance(value, datetime) else value, record[f"{noun}Arn"]]

    matching = [record for record in records if _matches(noun, record, params)]
    matching.sort(key=place, reverse=descending)
    if token := params.get("NextToken"):
        last = _decode(token)
        matching = [row for row in matching if (place(row) < last if descending else place(row) > last)]
    size = params.get("MaxResults", 10)
    rows, rest = matching[:size], matching[size:]
    return rows, _encode(place(rows[-1])) if rest else None


def _matches(noun: str, record: Record, params: Record) -> bool:
    return all(_passes(noun, record, name, wanted) for name, wanted in params.items() if name not in _PAGING)


def _passes(noun: str, record: Record, name: str, wanted: Any) -> bool:
    if name == "NameContains":
        return wanted.lower() in record[f"{noun}Name"].lower()
    if name == "StatusEquals":
        return record.get(f"{noun}Status") == wanted
    if name.endswith("TimeAfter"):
        return record[name.removesuffix("After")] > wanted
    if name.endswith("TimeBefore"):
        return record[name.removesuffix("Before")] < wanted
    return record.get(name.removesuffix("Equals")) == wanted


def _encode(place: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def _decode(token: str) -> list[Any]:
    try:
        return list(json.loads(base64.urlsafe_b64decode(token)))
    except ValueError as error:
        raise invalid("The NextToken is invalid.") from error
