"""The ledger: one DynamoDB table, an append-only history per model beside the current state.

    pk              sk                      what
    MODELS          <model>                 the listing
    MODEL#<model>   SPEC, SPEC#<digest>     what is published now; each specification that ever was
                    CHAMPION                what serves, and since when, and what served before
                    LOCK#train|deploy       held by one execution, with an expiry
                    CLAIM#<what>#<id>       the execution that took a piece of work
                    RUN#<run>  PACKAGE#<version, 6 digits>  DEPLOYMENT#<name>  WINDOW#<start>_<end>
                    TRAINING#<at>#<run>, TRAININGS   what was asked for and admitted, and what it may cost
                    BATCH#<batch>, INPUT#<file>      what was scored without an endpoint, and how that ended
                    DECISION#<signal>, RESPONSE      what was answered, and what a person was told
                    H#<at>#<kind>#<id>      history, written once, never changed

A state and its history row are written in one transaction, so that a handler killed at any line leaves either
both or neither; retried, it finds its own history row and answers as it did before.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from . import aws, times
from .errors import AwsConflict, AwsNotFound, RecordMissing

Item = dict[str, Any]
# DynamoDB's numbers, zero aside; a whole one of more than 38 digits could not be written again.
SMALLEST, LARGEST, WHOLE = 1e-130, 9.99e125, 10**38
_serializer, _deserializer = TypeSerializer(), TypeDeserializer()


@dataclass(frozen=True)
class Write:
    """One item of a transaction, as it shall be; nothing in the ledger is ever deleted. `condition` names
    attributes `#name` and values `:name` (of `values`)."""

    model: str
    sk: str
    item: Item
    condition: str = ""
    values: Item = field(default_factory=dict)
    pk: str = ""

    def request(self, table: str) -> Item:
        """As TransactWriteItems takes it."""
        key = {"pk": self.pk or f"MODEL#{self.model}", "sk": self.sk}
        body: Item = {"TableName": table, "Item": _encode(self.item | key)}
        if self.condition:
            body["ConditionExpression"] = self.condition
            names = set(re.findall(r"#(\w+)", self.condition))
            if names:
                body["ExpressionAttributeNames"] = {f"#{name}": name for name in names}
            if self.values:
                body["ExpressionAttributeValues"] = _encode({f":{k}": v for k, v in self.values.items()})
        return {"Put": body}


ABSENT = "attribute_not_exists(pk)"


def put(model: str, sk: str, item: Item, condition: str = "", **values: Any) -> Write:
    """A state record as it shall be."""
    return Write(model, sk, item, condition, values)


def changed(model: str, sk: str, before: Item, **changes: Any) -> Write:
    """A state record as it was read, but for `changes`; refused where its status is another one by now."""
    return put(model, sk, before | changes, "#status = :before", before=before["status"])


def history(model: str, at: str, kind: str, id: str, **details: Any) -> Write:
    """A history row: the time and id of what happened make its key, so that it is written once."""
    row = {"model": model, "kind": kind, "id": id, "at": at, "recorded_at": times.iso(times.now())}
    return Write(model, f"H#{at}#{kind}#{id}", details | row, ABSENT)


def acquire(model: str, lock: str, execution: str, lasts: float, dead: str = "", **details: Any) -> Write:
    """Take a lock for `lasts` seconds: it is free, has expired, is ours already, or its holder is `dead`."""
    now = int(times.now().timestamp())
    free = f"{ABSENT} OR #expires_at < :now OR #owner = :me"
    values = {"now": now, "me": execution}
    if dead:
        free, values = f"{free} OR #owner = :dead", values | {"dead": dead}
    item = details | {"owner": execution, "expires_at": now + int(lasts)}
    return put(model, f"LOCK#{lock}", item, free, **values)


def release(model: str, lock: str, execution: str) -> Write:
    """Give a lock back, its last owner left to read; the transaction fails where it is not ours any more."""
    return put(model, f"LOCK#{lock}", {"owner": execution, "expires_at": 0}, "#owner = :me", me=execution)


class Ledger:
    """Reads and writes of one table; each read is consistent."""

    def __init__(self, table: str):
        self.table = table

    def get(self, model: str, sk: str, pk: str = "") -> Item | None:
        """One record, or None."""
        key = _encode({"pk": pk or f"MODEL#{model}", "sk": sk})
        found = aws.call("dynamodb", "get_item", TableName=self.table, Key=key, ConsistentRead=True)
        return _decode(found["Item"]) if "Item" in found else None

    def need(self, model: str, sk: str) -> Item:
        """One record that an earlier step wrote; raises RecordMissing."""
        found = self.get(model, sk)
        if found is None:
            raise RecordMissing(f"the ledger has no {sk} of {model}")
        return found

    def spec(self, model: str, digest: str | None = None) -> Item | None:
        """The specification published last (or the one of `digest`), parsed; None where there is none."""
        found = self.get(model, f"SPEC#{digest}" if digest else "SPEC")
        return found and found | {"spec": json.loads(found["spec"])}

    def need_spec(self, model: str, digest: str | None = None) -> Item:
        """The same for a model that must have one."""
        found = self.spec(model, digest)
        if found is None:
            raise RecordMissing(f"the ledger has no specification {digest or ''} of {model}")
        return found

    def query(
        self, model: str, first: str, last: str = "", *, newest_first: bool = False, pk: str = ""
    ) -> Iterator[Item]:
        """Records with `first` <= sk <= `last`, or whose sk begins with `first`; pages follow as they are
        read."""
        condition, values = "pk = :pk AND begins_with(sk, :first)", {":first": first}
        if last:
            condition, values = "pk = :pk AND sk BETWEEN :first AND :last", {":first": first, ":last": last}
        found = aws.pages(
            "dynamodb",
            "query",
            "Items",
            TableName=self.table,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=_encode(values | {":pk": pk or f"MODEL#{model}"}),
            ScanIndexForward=not newest_first,
            ConsistentRead=True,
        )
        return map(_decode, found)

    def models(self) -> Iterator[Item]:
        """The listing, by name (which begins with a letter)."""
        return self.query("", "a", "~", pk="MODELS")

    def commit(self, *writes: Write) -> None:
        """All of them or none. Raises AwsConflict, whose `failed` has the places of the writes that were
        refused."""
        requests = [write.request(self.table) for write in writes]
        aws.call("dynamodb", "transact_write_items", TransactItems=requests)

    def commit_once(self, row: Write, *writes: Write) -> bool:
        """The writes with the history row `row`; False where that row is there, and with it all of them."""
        try:
            self.commit(row, *writes)
        except AwsConflict as conflict:
            if 0 in conflict.failed:
                return False
            raise
        return True

    def append(self, row: Write) -> bool:
        """A history row alone; False where it is there already."""
        return self.commit_once(row)

    def holder(self, model: str, lock: str) -> Item | None:
        """The lock as it is, unless it has expired."""
        found = self.get(model, f"LOCK#{lock}")
        return found if found and found["expires_at"] >= int(times.now().timestamp()) else None


def is_running(execution: str) -> bool:
    """Whether an execution still runs. One that nobody knows any more does not."""
    try:
        found = aws.call("stepfunctions", "describe_execution", executionArn=execution)
    except AwsNotFound:
        return False
    return found["status"] in ("RUNNING", "PENDING_REDRIVE")


def _encode(item: Item) -> Item:
    return {name: _serializer.serialize(_exact(value)) for name, value in item.items()}


def _exact(value: Any) -> Any:
    """Floats as the decimals that print alike, which is what DynamoDB stores."""
    if isinstance(value, float):
        return Decimal(repr(_nearest(value)))
    if isinstance(value, dict):
        return {name: _exact(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_exact(inner) for inner in value]
    return value


def _nearest(value: float) -> float:
    """The nearest of DynamoDB's numbers: the errors of a model that has exploded must not break the record
    that tells of them."""
    if not math.isfinite(value):
        return value
    return max(-LARGEST, min(LARGEST, value)) if abs(value) >= SMALLEST else 0.0


def _decode(item: Item) -> Item:
    return {name: _plain(_deserializer.deserialize(value)) for name, value in item.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        is_whole = abs(value) < WHOLE and value == value.to_integral_value()
        return int(value) if is_whole else float(value)
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value
