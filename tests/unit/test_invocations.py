"""What an endpoint is asked, it is asked once, and within the time that the caller has."""

import pytest
from botocore.exceptions import ReadTimeoutError
from deploy import run_smoke_test
from evergreen import aws
from evergreen.errors import AwsUnavailable

from tests.template import stack
from tests.unit.test_staging import ANSWER, ROWS, admit, endpoint, flights, smoke_test  # noqa: F401 (fixtures)


class Clock:
    """Stands still but where it is told to go on."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def hung(monkeypatch):
    """Every request times out; the operations that were sent."""
    sent = []
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    aws.client.cache_clear()

    def time_out(event_name, **_):
        sent.append(event_name.rsplit(".", 1)[-1])
        raise ReadTimeoutError(endpoint_url="https://hung")

    for service in ("sagemaker-runtime", "events"):
        aws.client(service).meta.events.register(f"before-send.{service}", time_out)
    yield sent
    aws.client.cache_clear()


def test_a_model_that_hangs_is_asked_once_and_a_service_again(hung):
    with pytest.raises(AwsUnavailable):
        aws.call("sagemaker-runtime", "invoke_endpoint", EndpointName="evergreen-flights", Body=b"{}")
    assert hung == ["InvokeEndpoint"]
    with pytest.raises(AwsUnavailable):
        aws.call("events", "list_rules")
    assert hung.count("ListRules") == 4


@pytest.mark.parametrize("seconds", [24.9, 9.9, 4.9, 0.1])
def test_however_slow_a_model_is_its_test_ends_in_time(monkeypatch, endpoint, seconds):  # noqa: F811
    clock = Clock()
    monkeypatch.setattr(run_smoke_test, "time", clock)
    monkeypatch.setattr(run_smoke_test, "read", lambda uri: [{"row": ROWS[0], "answer": ANSWER}] * 50)

    def say(row):
        clock.now += seconds
        return ANSWER

    endpoint.say = say
    smoke_test(admit())
    # The row without any column is refused by the fixture at once; a model may take as long for it.
    assert clock.now + seconds < stack.resources()["RunSmokeTestFunction"]["Properties"]["Timeout"]
    assert len(endpoint.asked) >= 4, "to warm up, a row, no columns, and the first row again"
