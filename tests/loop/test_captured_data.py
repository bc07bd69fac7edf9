"""A model that learns from what it was asked: requests that were captured and labelled through the API are in
the next training set, beside the files."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.loop import folders
from tests.loop.site import Site, caused_by

pytestmark = pytest.mark.loop

NAME = "learner"
FROM_REQUESTS = folders.APPROVED_BY_POLICY | {"retrain:\n": "retrain:\n  data: [base, captured]\n"}
ASKED, LABELLED = 40, 30


def artifact(site: Site, run: str, name: str) -> bytes:
    return site.client("s3").get_object(Bucket=site.bucket, Key=f"runs/{run}/{name}")["Body"].read()


def parquet(site: Site, run: str, part: str) -> pa.Table:
    return pq.read_table(io.BytesIO(artifact(site, run, f"{part}/{part}.parquet")))


def captured(site: Site) -> int:
    """How many files of requests there are."""
    prefix = f"capture/evergreen-{NAME}/main/"
    return site.client("s3").list_objects_v2(Bucket=site.bucket, Prefix=prefix)["KeyCount"]


def test_labelled_requests_are_trained_on_and_others_are_not(site: Site) -> None:
    base = folders.sample()
    site.upload(NAME, "2013.parquet", folders.parquet(base))
    site.publish(NAME, FROM_REQUESTS)
    site.wait("the first version in service", lambda: site.view(NAME)["champion"])

    rows = folders.new_flights(ASKED)
    truth = {row["flight_id"]: row.pop("late") for row in rows}
    known = base.slice(len(base) - 1).to_pylist()[0]  # it is among the files, and asked about all the same
    again = {name: value for name, value in known.items() if name != "late"}
    again["scheduled_departure"] = again["scheduled_departure"].isoformat()
    site.predict(NAME, [*rows, again])
    labelled = dict(list(truth.items())[:LABELLED])
    labels = [{"id": id, "label": 1 - late} for id, late in labelled.items()]  # not what any file says
    labels.append({"id": known["flight_id"], "label": 1 - known["late"]})
    assert site.owner.post(f"/models/{NAME}/labels", {"labels": labels})["accepted"] == len(labels)

    site.wait("the requests to be captured", lambda: captured(site))
    asked = site.owner.post(f"/models/{NAME}/train", {})
    trained = site.ended("train", caused_by(asked["cause"]["id"]))
    assert trained.ended_in == "ModelRegistered", trained.reason
    [ended] = site.history(NAME, "RunEnded", trained.cause["id"])
    files = json.loads(artifact(site, ended["run"], "data.json"))["files"]
    pinned = {file["key"].split("/")[0] for file in files}
    assert pinned == {"datasets", "capture", "labels"}
    findings = json.loads(artifact(site, ended["run"], "report/validation.json"))["findings"]
    assert f"{LABELLED} labelled requests were added" in [found["reason"] for found in findings]

    learned = pa.concat_tables([parquet(site, ended["run"], part) for part in ("train", "holdout")])
    late = dict(zip(learned["flight_id"].to_pylist(), learned["late"].to_pylist(), strict=True))
    assert len(late) == len(learned) == len(base) + LABELLED
    assert {id: late.get(id) for id in truth} == {
        id: 1 - truth[id] if id in labelled else None for id in truth
    }
    assert late[known["flight_id"]] == known["late"], "of both, the file's counts"
