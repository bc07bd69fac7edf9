"""What a shadow answered beside what production did, from what was captured of both."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from evergreen import pairs, spec
from evergreen.errors import SpecInvalid
from evergreen.pairs import Agreement

from tests.unit.world import MODEL_YAML

ENDPOINT = "evergreen-flights"
JSON_LINES = "application/jsonlines"


def captured(request: str, data: str, kind: str = JSON_LINES) -> str:
    """A line of data capture."""
    side = {"observedContentType": kind, "mode": "OUTPUT", "data": data, "encoding": "JSON"}
    metadata = {
        "eventId": f"event of {request}",
        "inferenceId": request,
        "inferenceTime": "2013-07-01T10:00:00Z",
    }
    return json.dumps({"captureData": {"endpointOutput": side}, "eventMetadata": metadata}) + "\n"


def answered(*probabilities: float) -> str:
    rows = [{"prediction": int(value > 0.5), "probability": value} for value in probabilities]
    return "".join(json.dumps(row) + "\n" for row in rows)


def put(bucket, variant: str, lines: str, hour: int = 10) -> None:
    bucket.put(f"capture/{ENDPOINT}/{variant}/2013/07/01/{hour:02}/00-00-000-{variant}.jsonl", lines)


def agreement(since: timedelta = timedelta(minutes=-5)) -> Agreement:
    return pairs.agreement("bucket", ENDPOINT, datetime.now(UTC) + since)


def test_both_answers_to_each_row_are_compared(bucket):
    put(bucket, "main", captured("a", answered(0.1, 0.9)) + captured("b", answered(0.4)))
    put(bucket, "shadow", captured("b", answered(0.7)) + captured("a", answered(0.1, 0.8)))
    found = agreement()
    assert (found.rows, found.disagreement) == (3, pytest.approx(1 / 3))
    assert found.distance == pytest.approx(0.4 / 3)
    assert found.as_dict() == {"rows": 3, "disagreement": 0.333333, "distance": 0.133333}


def test_what_cannot_be_joined_or_read_is_left_out(bucket):
    both = captured("a", answered(0.2))
    broken = "no line\n" + captured("d", "no json") + captured("e", "0.5", "text/csv") + captured("f", None)
    broken += captured("g", "[" * 100_000) + captured("h", '{"predictions": 1}', "application/json")
    put(bucket, "main", both + broken + captured("b", answered(0.2, 0.3)) + captured("c", answered(0.1)))
    put(bucket, "shadow", both + broken + captured("b", answered(0.2)))
    assert agreement() == Agreement(1, 0.0, 0.0)


def test_a_number_that_no_float_holds_has_no_distance(bucket):
    for variant in ("main", "shadow"):
        put(bucket, variant, captured("a", f"{10**400}\n"))
    assert agreement() == Agreement(1, 0.0, None)


def test_production_is_read_from_the_shadows_first_hour_on(bucket):
    put(bucket, "main", captured("a", answered(0.9)), hour=9)  # no request of the shadow
    put(bucket, "main", captured("a", answered(0.2)))
    put(bucket, "shadow", captured("a", answered(0.2)))
    assert agreement() == Agreement(1, 0.0, 0.0)


def test_what_was_written_before_is_of_another_shadow(bucket):
    put(bucket, "main", captured("a", answered(0.9)))
    put(bucket, "shadow", captured("a", answered(0.2)))
    assert agreement(timedelta(minutes=5)) == Agreement(0, None, None)


def test_numbers_have_a_distance_and_classes_a_share(bucket):
    put(bucket, "main", captured("a", '{"prediction": 2.5}\n') + captured("b", '{"prediction": "x"}\n'))
    put(bucket, "shadow", captured("a", '{"prediction": 4.0}\n') + captured("b", '{"prediction": "y"}\n'))
    assert agreement() == Agreement(2, 1.0, 1.5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("percent: 10", "percent: 10, disagreement: 10%"), "is for a shadow"),
        (("task: binary_classification", "task: regression"), "a regression gives numbers"),
    ],
)
def test_a_limit_that_says_nothing_is_told_at_publish(change, said):
    shadowed = MODEL_YAML.replace("canary, percent: 10", "shadow, disagreement: 10%")
    yaml = MODEL_YAML if change[0] in MODEL_YAML and "percent" in change[0] else shadowed
    with pytest.raises(SpecInvalid, match=f"ship.disagreement: .*{said}"):
        spec.parse(yaml.replace(*change))
