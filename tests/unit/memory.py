"""The ledger's table in memory, for tests of thousands of transactions: moto copies its account for each.
It knows the conditions that the ledger writes, and nothing else; each call is atomic."""

import re
from threading import Lock
from typing import Any

from evergreen import aws
from evergreen.errors import AwsConflict

Item = dict[str, Any]


class Table:
    """Items by (pk, sk), as DynamoDB's API has them."""

    def __init__(self):
        self.items: dict[tuple[str, str], Item] = {}
        self.lock = Lock()

    def install(self, monkeypatch) -> None:
        """In the place of DynamoDB."""
        real = aws.call

        def call(service, operation, **params):
            if service != "dynamodb":
                return real(service, operation, **params)
            with self.lock:
                return getattr(self, operation)(params)

        monkeypatch.setattr(aws, "call", call)
        monkeypatch.setattr(aws, "pages", lambda *what, **params: iter(call(*what[:2], **params)[what[2]]))

    def get_item(self, params: Item) -> Item:
        item = self.items.get(_key(params["Key"]))
        return {"Item": dict(item)} if item else {}

    def query(self, params: Item) -> Item:
        given = params["ExpressionAttributeValues"]
        values = {name: value["S"] for name, value in given.items()}
        first, last = values[":first"], values.get(":last")
        found = [
            (sk, item)
            for (pk, sk), item in self.items.items()
            if pk == values[":pk"] and (first <= sk <= last if last else sk.startswith(first))
        ]
        found.sort(key=lambda pair: pair[0], reverse=not params["ScanIndexForward"])
        return {"Items": [dict(item) for _, item in found]}

    def transact_write_items(self, params: Item) -> Item:
        puts = [write["Put"] for write in params["TransactItems"]]
        refused = {place for place, one in enumerate(puts) if not self._holds(one)}
        if refused:
            raise AwsConflict("refused", failed=frozenset(refused))
        for one in puts:
            self.items[_key(one["Item"])] = one["Item"]
        return {}

    def _holds(self, one: Item) -> bool:
        condition, item = one.get("ConditionExpression"), self.items.get(_key(one["Item"]))
        return not condition or any(_is_true(part, item, one) for part in condition.split(" OR "))


def _is_true(condition: str, item: Item | None, one: Item) -> bool:
    if condition == "attribute_not_exists(pk)":
        return item is None
    name, sign, value = re.fullmatch(r"#(\w+) (=|<|<>) (:\w+)", condition).groups()
    if item is None or name not in item:
        return False
    found, given = (_plain(side) for side in (item[name], one["ExpressionAttributeValues"][value]))
    return {"=": found == given, "<": found < given if sign == "<" else False, "<>": found != given}[sign]


def _plain(value: Item) -> Any:
    kind, content = next(iter(value.items()))
    return float(content) if kind == "N" else content


def _key(item: Item) -> tuple[str, str]:
    return item["pk"]["S"], item["sk"]["S"]
