"""Samples, rules and `docs/events.md` in step: no event without a sample, no sample without a row."""

import json
import re
from datetime import datetime
from typing import Any, NamedTuple

import pytest

from tests.lint_asl import ACCOUNT, REGION, ROOT
from tests.template import stack
from tests.template.test_triggers import SAMPLES, SCHEDULED, sample

ROW = re.compile(r"\| \[(?P<event>[^\]]+)\]\(\.\./events/(?P<sample>[\w.-]+)\.json\)[^|]*\|(?P<rest>.*)\|")
WORDS = {"Topic": "notification", "RenewCardFunction": "card", "DeleteLeftoversFunction": "leftovers"}


class Row(NamedTuple):
    """A row of the catalogue."""

    event: str
    source: str
    starts: str
    detail: list[str]
    once_per: str


def catalogue() -> dict[str, Row]:
    rows = {}
    for line in (ROOT / "docs/events.md").read_text().splitlines():
        if found := ROW.fullmatch(line):
            source, starts, detail, once = (cell.strip() for cell in found["rest"].split("|"))
            rows[found["sample"]] = Row(
                found["event"], source.strip("`"), starts, re.findall(r"`([^`]+)`", detail), once
            )
    return rows


def kebab(text: str) -> str:
    """AWS's types are words, ours one word of several: "Object Created", "ViolationFound"."""
    words = text if " " in text else re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return words.replace(" ", "-").lower()


def machines(targets: list[str]) -> str:
    """Targets as the page names them."""
    names = [WORDS.get(target, target.removesuffix("StateMachine").lower()) for target in targets]
    return ", ".join(names) or "nothing"


by_sample = pytest.mark.parametrize("name", SAMPLES)


def test_every_sample_has_one_row_and_every_row_its_sample() -> None:
    assert set(catalogue()) == set(SAMPLES)


@by_sample
def test_row_says_what_the_sample_and_the_rules_say(name: str) -> None:
    row, event = catalogue()[name], sample(name)
    assert row.event == event["detail-type"]
    assert row.source in (event["source"], "any")
    if name not in SCHEDULED:
        assert row.starts == machines(stack.started_by(event))
    assert row.once_per


@by_sample
def test_row_names_the_detail(name: str) -> None:
    row, detail = catalogue()[name], sample(name)["detail"]
    for path in row.detail:
        place: Any = detail
        for key in path.split("."):
            assert key in place, f"{name}: detail.{path}"
            place = place[key]
    if not sample(name)["source"].startswith("aws."):
        assert set(row.detail) == set(detail)


@by_sample
def test_sample_is_named_after_its_source_and_type(name: str) -> None:
    event = sample(name)
    source = "program" if name.startswith("program-") else event["source"].split(".")[1]
    kind = kebab(event["detail-type"])
    expected = kind if kind.startswith(f"{source}-") else f"{source}-{kind}"
    assert name.split(".")[0] == expected


@pytest.mark.parametrize("name", sorted(set(SAMPLES) - SCHEDULED))
def test_sample_has_eventbridges_envelope(name: str) -> None:
    event = sample(name)
    assert set(event) == {
        "version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail",
    }  # fmt: skip
    assert (event["version"], event["account"], event["region"]) == ("0", ACCOUNT, REGION)
    assert datetime.fromisoformat(event["time"].replace("Z", "+00:00")).tzinfo
    assert len(json.dumps(event)) < 256 * 1024


def test_ids_are_the_events_own() -> None:
    ids = [sample(name)["id"] for name in set(SAMPLES) - SCHEDULED]
    assert len(set(ids)) == len(ids)


def test_every_event_that_a_machine_sends_has_a_sample() -> None:
    sent = set()
    for file in (ROOT / "statemachines").glob("*.asl.yaml"):
        text = file.read_text()
        sent |= {
            (source, kind)
            for source, kind in re.findall(r"Source: (evergreen\.\w+)\s+DetailType: (\w+)", text)
        }
    assert sent
    assert sent <= {(sample(name)["source"], sample(name)["detail-type"]) for name in SAMPLES}
