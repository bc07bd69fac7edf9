"""The report of a run: whole, self-contained, and honest about a loop that did not close."""

import copy
import re
from html.parser import HTMLParser

import pytest

from local import charts, report, rollbacks
from local.charts import Axis

VOID = {"meta", "br"}


def score(value: float) -> dict:
    return {"value": value, "low": value - 0.01, "high": value + 0.01, "baseline": 0.4}


def window(start: str, end: str, version: int, loss: float, violations: list) -> dict:
    return {
        "start": start,
        "end": end,
        "rows": 6400,
        "labelled": 6300,
        "status": "Completed",
        "version": version,
        "violations": violations,
        "features": {
            "temp": {"distance": 0.3, "threshold": 0.2},
            "origin": {"distance": 0.01, "threshold": 0.2},
        },
        "quality": {"log_loss": score(loss), "roc_auc": score(1 - loss / 2)},
    }


VIOLATION = {
    "feature_name": "late",
    "constraint_check_type": "model_quality_check",
    "description": "log_loss 0.51 is over <0.45>",
    "metric": "log_loss",
    "value": 0.51,
    "threshold": 0.45,
}
CAUSE = {
    "kind": "violation",
    "id": "flights/2013-07-01",
    "at": "2013-07-08T00:00:00Z",
    "by": "evergreen.monitor",
}


def champion(version: int, cause: dict, predecessor: dict | None) -> dict:
    return {
        "version": version,
        "run": f"flights-{version:010d}",
        "metrics": {"roc_auc": score(0.77), "log_loss": score(0.44), "brier": score(0.14)},
        "holdout": {"rows": 11820, "from": "2013-06-24T00:00:00Z", "until": "2013-07-08T00:00:00Z"},
        "predecessor": predecessor,
        "cause": cause,
        "approved_by": "approver",
        "promoted_at": f"2013-0{3 if version == 1 else 7}-08T00:00:00Z",
    }


def change(metric: str, old: float, new: float) -> dict:
    span = {"rows": 41022, "from": "2013-07-08T00:00:00Z", "to": "2013-09-01T00:00:00Z"}
    return {"old_version": 1, "new_version": 2, "metric": metric, "old": old, "new": new, **span}


def sample(at: int, old: int, new: int, failed: int = 0) -> dict:
    return {"at": at, "old": old, "new": new, "old_failed": 0, "new_failed": failed}


def history(*kinds: str) -> list[dict]:
    """The ledger's rows of a version that was approved and came back."""
    about = {"version": 3, "deployment": "evergreen-flights-v3-4d5e6f", "at": "2013-08-05T00:00:00Z"}
    told = {"approved_by": "arn:aws:iam::000000000000:user/owner", "cause": {"kind": "code", "id": "4d5e"}}
    reason = {
        "DeploymentRolledBack": "alarm <errors> was tripped",
        "DeploymentDropped": "version 3 is Rejected in the registry now",
    }
    return [{"kind": kind, "reason": reason.get(kind), **about, **told} for kind in kinds]


@pytest.fixture
def record() -> dict:
    return {
        "model": "flights",
        "primary": "roc_auc",
        "quality": "log_loss",
        "closed": True,
        "missing": None,
        "world": {"from": "2013-03-01T00:00:00Z", "until": "2013-09-01T00:00:00Z"},
        "seconds": {"setup": 90.0, "run": 200.0},
        "peak_mb": 2048,
        "counts": {"requests": 800, "predictions": 150000, "labels": 149000, "files": 7, "lost": 0},
        "executions": [
            {
                "machine": "train",
                "arn": "arn:aws:states:us-east-1:000000000000:execution:evergreen-train:1",
                "cause_event_id": "e-1",
                "cause": CAUSE,
                "status": "SUCCEEDED",
                "at": "2013-07-08T00:00:00Z",
                "start": 10.0,
                "seconds": 20.0,
                "states": [{"name": "AdmitRun", "start": 10.0, "seconds": 0.2}],
                "ended_in": "ModelRegistered",
                "reason": "better on the same rows",
            }
        ],
        "champions": [
            champion(1, {**CAUSE, "kind": "code", "id": "3fb09c2be771"}, None),
            champion(2, CAUSE, {"roc_auc": score(0.7)}),
        ],
        "windows": [
            window("2013-07-01T00:00:00Z", "2013-07-08T00:00:00Z", 1, 0.51, [VIOLATION]),
            window("2013-07-08T00:00:00Z", "2013-07-15T00:00:00Z", 2, 0.43, []),
        ],
        "decisions": [
            {"at": "2013-07-08T00:00:00Z", "signal": CAUSE, "decision": "retrain", "reason": "over its limit"}
        ],
        "before_after": [change("roc_auc", 0.7, 0.77), change("log_loss", 0.5, 0.44)],
        "weeks": [
            {"old_version": 1, "new_version": 2, "from": "2013-07-08T00:00:00Z", "to": "2013-07-15T00:00:00Z",
             "rows": 6400,
             "old": {"log_loss": 0.5, "roc_auc": 0.7}, "new": {"log_loss": 0.43, "roc_auc": 0.78}},
        ],
        "deployments": [
            {"name": "evergreen-flights-v2-1a2b3c", "version": 2, "previous": 1, "seconds": 3.0,
             "outcome": "ModelDeployed",
             "samples": [sample(0, 9, 1), sample(1, 0, 0), sample(2, 0, 8)]},
            {"name": "evergreen-flights-v3-4d5e6f", "version": 3, "previous": 2, "seconds": 2.0,
             "outcome": "DeploymentRolledBack", "samples": [sample(0, 9, 3, failed=2), sample(1, 8, 0)]},
        ],
        "rollbacks": [],
    }  # fmt: skip


class Balance(HTMLParser):
    """Every element that opens also closes, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_fetches_nothing(record):
    page = report.render(record)
    balance = Balance()
    balance.feed(page)
    assert balance.open == []
    assert not re.search(r"https?://|src=|@import|url\(|<script|<link", page)


def test_the_page_tells_what_happened(record):
    page = report.render(record)
    assert "The loop closed" in page
    assert "roc_auc 0.770, where v1 has 0.700, on the same" in page
    assert 'circle class="violation"' in page  # the violated metric stands out in its week
    assert '<span class="better">-0.060</span>' in page  # log loss fell, and that is good
    assert 'class="tag retrain"' in page
    assert page.count('td class="over"') == 0  # a quality violation is no feature's drift
    assert "predecessor 0.700" in page


def test_what_the_run_said_is_escaped(record):
    assert "over &lt;0.45&gt;" in report.render(record)


ENDS = ("DeploymentStarted", "DeploymentRolledBack", "DeploymentDropped")


def test_a_version_that_came_back_is_told_with_what_it_cost(record):
    record["rollbacks"] = rollbacks.rollbacks(history(*ENDS), record["deployments"])
    [found] = record["rollbacks"]
    assert (found["requests"], found["failed"]) == (
        {"champion": 17, "challenger": 3},
        {"champion": 0, "challenger": 2},
    )
    assert rollbacks.lost(record["rollbacks"], failures=2) == 0
    page = report.render(record)
    assert "2 of 3<small>0 of 17 in the fleet before</small>" in page
    assert "alarm &lt;errors&gt; was tripped" in page
    assert page.count('rect class="failed"') == 1
    assert page.count(">v3 came back<") == 2  # in both charts of quality
    text = rollbacks.told(record)
    assert "v3       5 Aug 2013  owner  2 of 3" in text
    assert "800 requests 2 failed in its fleet and 0 anywhere else" in text
    assert "dropped: version 3 is Rejected in the registry now." in text


@pytest.mark.parametrize(
    ("ends", "failures", "said"),
    [
        (ENDS[:1], 2, "was not rolled back"),
        (ENDS, 3, "1 requests failed that version 3 did not answer"),
        (ENDS[:2], 2, "was not dropped when it came again"),
        (ENDS, 2, None),
    ],
)
def test_a_faulty_version_ends_as_it_should_or_it_is_said(record, ends, failures, said):
    record["rollbacks"] = rollbacks.rollbacks(history(*ends), record["deployments"])
    record["counts"]["lost"] = rollbacks.lost(record["rollbacks"], failures)
    found = rollbacks.unsafe(record)
    assert said in found if said else found is None


def test_a_version_that_came_back_for_nothing_is_said(record):
    record["deployments"][1]["samples"] = [sample(0, 9, 3)]
    record["rollbacks"] = rollbacks.rollbacks(history(*ENDS), record["deployments"])
    assert "failed no request" in rollbacks.unsafe(record)


def test_a_loop_that_did_not_close_says_what_is_missing(record):
    open_ended = copy.deepcopy(record) | {
        "closed": False,
        "missing": "no second champion: train failed in PrepareData",
        "champions": [],
        "windows": [],
        "decisions": [],
        "before_after": [],
        "weeks": [],
        "deployments": [],
        "rollbacks": [],
        "executions": [],
    }
    page = report.render(open_ended)
    assert "The loop did not close" in page
    assert "no second champion: train failed in PrepareData" in page


def test_a_window_without_figures_is_drawn_as_a_gap(record):
    record["windows"].append(
        {**window("2013-07-15T00:00:00Z", "2013-07-22T00:00:00Z", 2, 0.4, []), "status": "TooFewRows",
         "features": {}, "quality": {}}
    )  # fmt: skip
    assert 'class="none"' in report.render(record)


def test_a_feature_over_its_threshold_is_marked(record):
    drift = {
        **VIOLATION,
        "feature_name": "temp",
        "constraint_check_type": "baseline_drift_check",
        "metric": "distance",
    }
    record["windows"][0]["violations"].append(drift)
    assert report.render(record).count('td class="over"') == 1


def test_ticks_are_round_and_inside():
    assert charts.ticks(0.39, 0.52) == [0.4, 0.45, 0.5]
    assert charts.ticks(3, 3) == [3]


def test_an_axis_without_extent_stays_in_the_middle():
    assert Axis(1, 1).at(1) == 50
