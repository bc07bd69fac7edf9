"""What goes wrong before anything is shipped: each failure is told where it happened, in the ledger and to a
person, and the champion serves on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from local.watch import Execution
from tests.loop import folders
from tests.loop.site import Json, Site, because_of, ships

pytestmark = pytest.mark.loop


def test_a_training_script_that_crashes(site: Site) -> None:
    champion = site.champion("swift")
    digest = site.publish("swift", folders.APPROVED_BY_POLICY, folders.CRASHING)
    execution = site.ended("train", because_of(digest))
    error, cause = site.failure(execution)
    assert error == "TrainingFailed"
    assert "ArithmeticError: the loss is nan at iteration 3" in cause
    assert "/aws/sagemaker/TrainingJobs" in cause
    [ended] = site.history("swift", "RunEnded", execution.cause["id"])
    assert (ended["outcome"], ended["reason"]) == ("failed", cause)
    site.inbox.wait(execution.arn, "TrainingFailed", "the loss is nan at iteration 3")
    assert site.champion("swift") == champion


def without_distance(rows: list[Json]) -> bytes:
    return folders.csv_file([{name: row[name] for name in row if name != "distance"} for row in rows])


def from_boston(rows: list[Json]) -> bytes:
    rows[2]["origin"] = "BOS"
    return folders.csv_file(rows)


def far_away(rows: list[Json]) -> bytes:
    rows[2]["distance"] = "far"
    return folders.csv_file(rows)


def nothing(rows: list[Json]) -> bytes:
    return b""


@pytest.mark.parametrize(
    ("file", "content", "column", "reason"),
    [
        ("short.csv", without_distance, "distance", "short.csv has no column `distance`"),
        ("boston.csv", from_boston, "origin", "boston.csv: column `origin` is none of EWR, JFK, LGA: 'BOS'"),
        (
            "text.csv",
            far_away,
            "distance",
            "text.csv: column `distance` should be a number, row 3 holds 'far'",
        ),
        ("empty.csv", nothing, None, "empty.csv is empty"),
    ],
    ids=["missing column", "category that is not declared", "text for a number", "empty file"],
)
def test_a_bad_file_of_data(
    site: Site, file: str, content: Callable[[list[Json]], bytes], column: str | None, reason: str
) -> None:
    champion = site.champion("files")
    with new_file(site, "files", file, content(folders.new_flights())) as execution:
        error, cause = site.failure(execution)
        assert error == "TrainingRefused"
        assert reason in cause
        [ended] = site.history("files", "RunEnded", execution.cause["id"])
        assert (ended["outcome"], ended["reason"]) == ("refused", cause)
        assert [(found["column"], found["file"]) for found in ended["findings"]] == [(column, file)]
        site.inbox.wait(execution.arn, "TrainingRefused", reason)
        assert site.champion("files") == champion


def test_a_category_never_seen_where_none_are_declared(site: Site) -> None:
    """Airlines open routes: the run goes on and says so, and the champion answers for the new route."""
    champion = site.champion("files")
    rows = [row | {"dest": "XNA2"} for row in folders.new_flights()]
    with new_file(site, "files", "route.csv", folders.csv_file(rows)) as execution:
        assert execution.ended_in == "ModelRegistered"
        [ended] = site.history("files", "RunEnded", execution.cause["id"])
        assert ended["outcome"] == "registered"
        [finding] = ended["findings"]
        assert (finding["column"], finding["check"], finding["fatal"]) == ("dest", "unseen_category", False)
        assert "20 held-out rows have a category that training never saw: XNA2" in finding["reason"]
    answer = site.predict("files", rows)
    assert len(answer["predictions"]) == len(rows)
    assert site.champion("files") == champion


def test_a_request_with_text_for_a_number(site: Site) -> None:
    champion = site.champion("files")
    rows = folders.new_flights(2)
    rows[1]["distance"] = "far"
    status, answer = site.stack.api("POST", "/models/files/predictions", {"instances": rows})
    assert status == 400
    assert answer["errors"] == [{"instance": 1, "field": "distance", "reason": '"far" is not a number'}]
    assert site.champion("files") == champion


@pytest.mark.parametrize("model", ["files", "stillborn"])
def test_a_model_yaml_with_three_mistakes(site: Site, model: str) -> None:
    """Of a model in service, and of one that nobody has heard of before."""
    champion = site.champion("files")
    digest = site.publish(model, folders.THREE_MISTAKES)
    execution = site.ended("onboard", because_of(digest))
    error, cause = site.failure(execution)
    assert error == "OnboardingRefused"
    assert cause.splitlines()[0] == "model.yaml has 3 mistakes:"
    lines = site.published(model, digest).splitlines()
    for place, what in (
        ("floor: 1.7", "gate.floor: 1.7 is not between 0 and 1"),
        ("bake: soon", "ship.bake: 'soon' is not a duration"),
        ("retrian:", "retrian: is not a key here; did you mean retrain?"),
    ):
        [line] = [number for number, text in enumerate(lines, 1) if text.strip().startswith(place)]
        assert f"line {line}: {what}" in cause
    [refusal] = site.history(model, "OnboardingRefused")
    assert refusal["reason"] == cause
    site.inbox.wait(execution.arn, "OnboardingRefused", "gate.floor", "ship.bake", "retrian")
    assert site.champion("files") == champion


def test_a_container_that_does_not_answer_ping(site: Site) -> None:
    champion = site.champion("swift")
    digest = site.publish("swift", folders.APPROVED_BY_POLICY, folders.NOT_LOADING)
    trained = site.ended("train", because_of(digest))
    assert trained.ended_in == "ModelRegistered"
    [ended] = site.history("swift", "RunEnded", trained.cause["id"])
    version = ended["version"]
    execution = site.ended("deploy", ships("swift", version))
    error, cause = site.failure(execution)
    assert error == "DeploymentRolledBack"
    assert "did not pass the ping health check" in cause
    [rollback] = site.history("swift", "DeploymentRolledBack", trained.cause["id"])
    assert (rollback["version"], rollback["reason"]) == (version, cause)
    site.inbox.wait(execution.arn, "DeploymentRolledBack", "did not pass the ping health check")
    package = site.package("swift", version)
    assert package["ModelApprovalStatus"] == "Rejected"
    assert "did not pass the ping health check" in package["ApprovalDescription"]
    assert site.champion("swift") == champion


@contextmanager
def new_file(site: Site, model: str, file: str, content: bytes) -> Iterator[Execution]:
    """The training that a new file starts, ended; the file is taken away again afterwards."""
    key = site.upload(model, file, content)
    try:
        yield site.ended("train", lambda found: found.cause["id"] == key)
    finally:
        site.remove(key)
