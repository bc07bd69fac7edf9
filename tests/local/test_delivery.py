"""EventBridge's retries, without a server."""

import pytest

from local import delivery
from local.delivery import Delivery, NotDelivered, Sender
from tests.local.stack.account import wait_for

ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"


@pytest.fixture
def buried(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    found: list[tuple] = []
    monkeypatch.setattr(Sender, "bury", lambda self, *about: found.append(about[2:]))
    monkeypatch.setattr(delivery, "FIRST_WAIT", 0.001)
    return found


def send(deliver: object, **policy: int) -> None:
    token = delivery._delivery.set(Delivery({"Arn": ARN, "RetryPolicy": policy}, "rule"))
    Sender(None).send(deliver, ARN, "{}")
    delivery._delivery.reset(token)


def test_a_failure_that_passes_is_retried(buried: list[tuple]) -> None:
    calls: list[str] = []

    def deliver(arn: str, payload: str) -> None:
        calls.append(payload)
        if len(calls) < 3:
            raise ConnectionError("busy")

    send(deliver)
    wait_for(lambda: len(calls) == 3)
    assert buried == []


def test_retries_end_in_the_dead_letter_queue(buried: list[tuple]) -> None:
    calls: list[str] = []

    def deliver(arn: str, payload: str) -> None:
        calls.append(payload)
        raise ConnectionError("busy")

    send(deliver, MaximumRetryAttempts=2)
    assert wait_for(lambda: buried) == [("SDK_CLIENT_ERROR", "ConnectionError: busy", 2)]
    assert len(calls) == 3


def test_what_will_not_come_right_is_not_retried(buried: list[tuple]) -> None:
    def deliver(arn: str, payload: str) -> None:
        raise NotDelivered("NO_RESOURCE", "gone")

    send(deliver)
    assert buried == [("NO_RESOURCE", "gone", 0)]
