"""What the loop knows, for people and programs that ask."""

import base64
import binascii
import re
from itertools import islice
from typing import Any

import approvals
from caller import Caller
from champions import LEDGER, published
from evergreen import ledger as records
from refusals import Refused, bad_field

# How far back versions that wait for a person are looked for.
LOOKED_AT = 20
SHOWN_WINDOWS = 10
PAGE, MOST = 50, 200


def models() -> dict[str, Any]:
    """Every model with the version in service."""
    return {"models": [_listed(item) for item in LEDGER.models()]}


def model(name: str) -> dict[str, Any]:
    """Where a model stands."""
    spec = published(name)
    windows = list(islice(LEDGER.query(name, "WINDOW#", newest_first=True), SHOWN_WINDOWS))
    last = next((window for window in windows if window["status"] == "Completed"), None)
    versions = list(islice(LEDGER.query(name, "PACKAGE#", newest_first=True), LOOKED_AT))
    holder = LEDGER.holder(name, "train")
    running = holder and records.is_running(holder["owner"])
    return {
        "model": name,
        "task": spec["spec"]["task"],
        "digest": spec["digest"],
        "published_at": spec["published_at"],
        "champion": _bare(LEDGER.get(name, "CHAMPION")),
        "pending": _pending(versions),
        "staged": _staged(name, versions),
        "windows": [_bare(window) for window in windows],
        "violations": last["violations"] if last else [],
        "run": holder["run"] if running else None,
    }


def history(name: str, caller: Caller) -> dict[str, Any]:
    """A page of what happened, newest first; `next` asks for the page after. A folder that was refused when
    it was published first has a history, and no specification."""
    limit = _limit(caller.query.get("limit", str(PAGE)))
    after = _position(caller.query.get("next"))
    rows = LEDGER.query(name, "H#", after or "H#~", newest_first=True)
    page = list(islice((row for row in rows if row["sk"] != after), limit + 1))
    if not page:
        published(name)
    more = len(page) > limit
    token = base64.urlsafe_b64encode(page[limit - 1]["sk"].encode()).decode() if more else None
    return {"history": [_bare(row) for row in page[:limit]], "next": token}


def _listed(item: dict[str, Any]) -> dict[str, Any]:
    champion = LEDGER.get(item["name"], "CHAMPION") or {}
    return {
        "name": item["name"],
        "task": item["task"],
        "published_at": item["published_at"],
        "version": champion.get("version"),
        "endpoint": champion.get("endpoint"),
    }


def _staged(name: str, versions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Versions in staging; `approval` is there where a person is asked, and says until when. A deployment may
    have gone on since its version was read."""
    staged = (package for package in versions if package["status"] == "Staging")
    deployments = (LEDGER.need(name, f"DEPLOYMENT#{package['deployment']}") for package in staged)
    return [
        {
            "version": each["version"],
            "deployment": each["deployment"],
            "endpoint": each["plan"]["staging"]["endpoint"],
            "approval": each.get("approval"),
        }
        for each in deployments
        if each["status"] == "Staging"
    ]


def _pending(versions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Versions that wait for a person, as the registry has it now."""
    waiting = "PendingManualApproval"
    return [
        _bare(package)
        for package in versions
        if package["status"] == waiting and approvals.status_of(package) == waiting
    ]


def _bare(item: dict[str, Any] | None) -> dict[str, Any] | None:
    """A record without its keys."""
    return item and {name: value for name, value in item.items() if name not in ("pk", "sk")}


def _limit(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text) or not 1 <= int(text) <= MOST:
        raise bad_field("limit", f"must be a whole number from 1 to {MOST}")
    return int(text)


def _position(token: str | None) -> str:
    if not token:
        return ""
    try:
        position = base64.urlsafe_b64decode(token.encode()).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise bad_field("next", "is not a token of an earlier page") from error
    if not position.startswith("H#"):
        raise Refused(400, "next is not a token of an earlier page")
    return position
