"""The monitor machine's handlers: windows by the event's time, rows counted exactly while they are few, each
cause answered once."""

import base64
import json

import pytest
from evergreen import budget, capture, spec, times
from evergreen import ledger as records
from evergreen.errors import EventInvalid, SpecInvalid
from evergreen.ledger import put
from monitor import pick_window, record_failure, record_window

from tests.machines.engine import machine
from tests.unit import world
from tests.unit.world import execution, kinds


@pytest.fixture(autouse=True)
def flights(ledger, executions):
    world.onboard(ledger)
    world.champion(ledger)


def line(at, data='{"origin": "JFK"}', kind="application/jsonlines", encoding="JSON"):
    return json.dumps(
        {
            "captureData": {
                "endpointInput": {
                    "observedContentType": kind,
                    "mode": "INPUT",
                    "data": data,
                    "encoding": encoding,
                }
            },
            "eventMetadata": {"eventId": "e", "inferenceTime": at},
            "eventVersion": "0",
        }
    )


def captured(bucket, at, rows=1):
    hour = times.hour_path(times.parse(at))
    name = at.replace(":", "-")
    data = "\n".join(['{"origin": "JFK"}'] * rows)
    bucket.put(f"capture/evergreen-flights/main/{hour}/{name}.jsonl", line(at, data))


def scheduled(at="2013-04-08T00:00:00Z"):
    return {
        "source": "evergreen.schedule",
        "detail-type": "MonitoringScheduled",
        "time": at,
        "detail": {"model": "flights", "at": at},
    }


def asked(start, end, id="event-9"):
    return {
        "source": "program",
        "detail-type": "MonitoringRequested",
        "time": "2013-05-01T00:00:00Z",
        "id": id,
        "account": "123456789012",
        "detail": {"model": "flights", "window": {"start": start, "end": end}},
    }


def pick(event, name="one"):
    return pick_window.handler({"event": event, "execution": execution(name, "monitor")}, world.CONTEXT)


def test_a_request_of_a_time_to_come_is_answered_once(bucket, monkeypatch):
    """It is for the window until now, which is another one when it is delivered again."""
    captured(bucket, "2013-04-07T10:00:00Z", 50)
    event = asked("", "") | {"time": "2099-01-01T00:00:00Z", "detail": {"model": "flights"}}
    plans = []
    for second in (0, 5):
        monkeypatch.setattr(times, "now", lambda at=f"2013-04-08T00:00:0{second}Z": times.parse(at))
        plans.append(pick(event, f"delivery-{second}"))
    assert [plan["status"] for plan in plans] == ["Ready", "Dropped"]
    assert plans[0]["window"]["end"] == "2013-04-08T00:00:00Z"


def test_a_scheduled_window_ends_at_the_scheduled_time(bucket, ledger):
    for day, rows in ((31, 50), (1, 4), (5, 6), (8, 50)):
        month = 3 if day == 31 else 4
        captured(bucket, f"2013-{month:02}-{day:02}T10:00:00Z", rows)
    bucket.put("labels/flights/2013/03/31/09/early.jsonl", "{}")
    bucket.put("labels/flights/2013/04/02/09/a.jsonl", "{}")
    bucket.put("labels/flights/2013/05/02/09/late.jsonl", "{}")
    plan = pick(scheduled())
    assert (plan["status"], plan["rows"]) == ("Ready", 10)
    assert plan["window"] == {"start": "2013-04-01T00:00:00Z", "end": "2013-04-08T00:00:00Z"}
    prefix, *files = bucket.json(plan["capture"])
    assert prefix == {"prefix": "s3://bucket/capture/evergreen-flights/main/"}
    assert [name[:13] for name in files] == ["2013/04/01/10", "2013/04/05/10"]
    assert bucket.json(plan["labels"])[1:] == ["2013/04/02/09/a.jsonl", "2013/05/02/09/late.jsonl"]
    assert plan["pipeline"] is None
    assert plan["baseline"].startswith("s3://bucket/runs/")
    assert ledger.need("flights", f"WINDOW#{plan['key']}")["status"] == "Analyzing"


def test_a_job_of_a_window_has_the_time_that_model_yaml_says(bucket, ledger):
    processing = "processing: {instance: ml.c5.xlarge, volume_gb: 40, timeout: 90m}\n"
    world.onboard(ledger, processing + world.MODEL_YAML)
    captured(bucket, "2013-04-04T10:00:00Z", 20)
    plan = pick(scheduled())
    assert (plan["instance"], plan["volumeGb"], plan["timeout"]) == ("ml.c5.xlarge", 40, 5400)


def test_the_machine_outlasts_the_longest_jobs_of_a_window():
    """A run's two jobs have to fit into a day, which bounds each of them."""
    definition = machine("monitor").definition
    limits = [definition["States"][name]["TimeoutSeconds"] for name in ("ProfileShards", "AnalyzeWindow")]
    longest, to_start = spec.LONGEST / budget.PROCESSING_JOBS, 3600
    assert all(limit >= longest + to_start for limit in limits)
    assert definition["TimeoutSeconds"] > sum(limits)
    with pytest.raises(SpecInvalid, match=r"processing\.timeout: '13h' is not between 1m and 12h"):
        spec.parse(f"processing: {{timeout: 13h}}\n{world.MODEL_YAML}")


def test_the_pipelines_features_of_the_windows_hours_are_compared(bucket):
    captured(bucket, "2013-04-04T10:00:00Z", 20)
    for hour in ("2013/03/31/23", "2013/04/04/10", "2013/04/08/00", "2013/04/08/01"):
        bucket.put(f"pipeline/flights/{hour}/rows.parquet", "rows")
    prefix, *files = bucket.json(pick(scheduled())["pipeline"])
    assert prefix == {"prefix": "s3://bucket/pipeline/flights/"}
    assert files == ["2013/04/04/10/rows.parquet", "2013/04/08/00/rows.parquet"]


def test_no_data_and_too_few_rows_say_so_with_the_counts(bucket, ledger):
    plan = pick(scheduled())
    assert plan["status"] == "NoData"
    captured(bucket, "2013-04-10T10:00:00Z", 9)
    plan = pick(scheduled("2013-04-15T00:00:00Z"), "two")
    assert plan["status"] == "TooFewRows"
    assert plan["reason"] == "9 captured rows are fewer than monitor.min_rows, 10"
    assert [row["status"] for row in kinds(ledger, "WindowAnalyzed")] == ["NoData", "TooFewRows"]


def test_a_window_begins_no_earlier_than_its_champion(bucket, ledger):
    world.champion(ledger, promoted_at="2013-04-03T12:00:00Z")
    captured(bucket, "2013-04-02T10:00:00Z", 50)
    captured(bucket, "2013-04-04T10:00:00Z", 20)
    plan = pick(scheduled())
    assert plan["window"]["start"] == "2013-04-03T12:00:00Z"
    assert len(bucket.json(plan["capture"])) == 2


def test_a_window_on_demand_is_taken_as_it_is(bucket):
    captured(bucket, "2013-04-04T10:00:00Z", 20)
    captured(bucket, "2013-04-04T10:30:00Z", 20)
    plan = pick(asked("2013-04-04T10:15:00Z", "2013-04-04T11:00:00+00:00"))
    assert plan["window"] == {"start": "2013-04-04T10:15:00Z", "end": "2013-04-04T11:00:00Z"}
    assert plan["rows"] == 20
    with pytest.raises(EventInvalid, match="is not before its end"):
        pick(asked("2013-04-04T11:00:00Z", "2013-04-04T10:00:00Z"))
    with pytest.raises(EventInvalid, match="needs start and end"):
        pick(asked("yesterday", "today"))


def test_the_same_event_five_times_is_one_analysis(bucket, executions):
    captured(bucket, "2013-04-04T10:00:00Z", 20)
    executions.add(execution("0", "monitor"))
    plans = [pick(scheduled(), str(number)) for number in range(5)]
    assert [plan["status"] for plan in plans] == ["Ready"] + ["Dropped"] * 4


def test_the_same_event_again_after_it_was_answered_is_dropped(bucket):
    captured(bucket, "2013-04-04T10:00:00Z", 20)
    plan = pick(scheduled())
    recorded(bucket, plan)
    again = pick(scheduled(), "late")
    assert again["status"] == "Dropped"
    assert "was answered already" in again["reason"]


def test_a_window_is_analysed_again_on_demand_but_not_twice_at_once(bucket, executions):
    captured(bucket, "2013-04-04T10:00:00Z", 20)
    executions.add(execution("one", "monitor"))
    first = pick(scheduled())
    edges = first["window"]["start"], first["window"]["end"]
    assert "is being analysed" in pick(asked(*edges), "two")["reason"]
    executions.clear()  # the first one died
    again = pick(asked(*edges, id="event-10"), "three")
    assert again["status"] == "Ready"
    assert again["name"] != first["name"]  # another job's name


@pytest.mark.parametrize("rows", [0, 5, 20])
def test_killed_after_its_side_effect_and_retried_it_gives_the_same_answer(bucket, ledger, rows):
    if rows:
        captured(bucket, "2013-04-04T10:00:00Z", rows)
    first = pick(scheduled())
    assert pick(scheduled()) == first
    key = "WINDOW#20130401T000000Z_20130408T000000Z"
    assert ledger.need("flights", key)["status"] == ("Analyzing" if rows == 20 else first["status"])
    assert len(kinds(ledger, "WindowAnalyzed")) == (0 if rows == 20 else 1)


def test_without_a_champion_there_is_no_data(ledger):
    world.onboard(ledger)
    ledger.commit(world.put("ghosts", "SPEC", ledger.get("flights", "SPEC")))
    event = scheduled()
    event["detail"]["model"] = "ghosts"
    assert pick(event)["reason"] == "ghosts has no champion in service"


@pytest.mark.parametrize(
    ("captured_line", "rows"),
    [
        (line("2013-04-01T00:00:00Z"), 1),
        (line("2013-04-02T00:00:00Z"), 0),  # the end is not in the window
        (line("2013-04-01T01:00:00Z", '{"a": 1}\n\n{"a": 2}\n'), 2),
        (line("2013-04-01T01:00:00Z", '{"instances": [{}, {}, {}]}', "application/json"), 3),
        (line("2013-04-01T01:00:00Z", '{"a": 1}', "application/json"), 1),
        (line("2013-04-01T01:00:00Z", "1,2\n3,4\n", "text/csv", "CSV"), 2),
        (line("2013-04-01T01:00:00Z", base64.b64encode(b"1,2\n3,4").decode(), "text/csv", "BASE64"), 2),
        (line("2013-04-01T01:00:00Z", "%%%", "text/csv", "BASE64"), 0),
        (line("2013-04-01T01:00:00Z", "[" * 5_000, "application/json"), 0),
        (line("2013-04-01T01:00:00Z", None), 0),
        (line("0001-01-01T00:00:00+01:00"), 0),  # before the first year in UTC
        ('{"captureData": ', 0),
        ("[]", 0),
        ("", 0),
    ],
)
def test_rows_of_a_line(captured_line, rows):
    start, end = times.parse("2013-04-01T00:00:00Z"), times.parse("2013-04-02T00:00:00Z")
    assert capture.rows_of(captured_line.encode(), start, end) == rows


DRIFT = {
    "feature_name": "origin",
    "constraint_check_type": "baseline_drift_check",
    "description": "d",
    "value": 0.3,
}
LOSS = {"feature_name": "log_loss", "constraint_check_type": "model_quality_check", "description": "worse"}


def recorded(bucket, plan, violations=(), name="one"):
    analysis = {
        "status": "Completed",
        "rows": 20,
        "labelled": 18,
        "violations": list(violations),
        "features": {"origin": {"distance": 0.3}},
        "quality": {"log_loss": {"value": 0.5, "low": 0.4, "high": 0.6, "baseline": 0.4}},
    }
    bucket.put(plan["output"].removeprefix("s3://bucket/") + "analysis.json", analysis)
    return record_window.handler({"plan": plan, "execution": execution(name, "monitor")}, world.CONTEXT)


def test_a_verdict_is_recorded_once_with_what_matters_first(bucket, ledger, capsys):
    captured(bucket, "2013-04-04T10:00:00Z", 20)
    plan = pick(scheduled())
    verdicts = [recorded(bucket, plan, [DRIFT, LOSS]) for _ in range(2)]
    assert verdicts[0] == verdicts[1]
    assert verdicts[0]["violations"] == 2
    assert [v["feature_name"] for v in verdicts[0]["top"]] == ["log_loss", "origin"]
    assert len(kinds(ledger, "WindowAnalyzed")) == 1
    assert ledger.need("flights", f"WINDOW#{plan['key']}")["labelled"] == 18
    emitted = [json.loads(text) for text in capsys.readouterr().out.splitlines() if "_aws" in text]
    assert {"Model": "flights", "Feature": "origin"}.items() <= emitted[1].items()
    assert emitted[0]["Quality_log_loss"] == [0.5]


def test_errors_beyond_dynamodbs_numbers_are_recorded_all_the_same(bucket, ledger):
    captured(bucket, "2013-04-02T10:00:00Z", rows=12)
    plan = pick(scheduled())
    worst = LOSS | {"metric": "r2", "value": -1e200, "threshold": 1e-200, "low": 1e200}
    assert recorded(bucket, plan, [worst])["violations"] == 1
    window = ledger.need("flights", f"WINDOW#{plan['key']}")
    (found,) = window["violations"]
    assert (found["value"], found["threshold"], found["low"]) == (-9.99e125, 0, 9.99e125)
    ledger.commit(put("flights", f"WINDOW#{plan['key']}", window))
    assert ledger.need("flights", f"WINDOW#{plan['key']}") == window, "what was read may be written again"


def test_figures_of_every_part_of_the_verdict(capsys):
    record_window.figures(
        "flights",
        {
            "rows": 1,
            "labelled": 1,
            "violations": [],
            "quality": {"roc_auc": {"value": None}},
            "features": {"temp": {"distance": 0.1, "missing": 0.02}, "gone": {}},
            "prediction": {"distance": 0.2},
            "detector": {"value": 350.0, "threshold": 700.0},
            "estimate": {"metric": "brier", "value": 0.1},
            "attribution": {"ndcg": 0.9, "l1": 0.1, "rows": 250},
            "bias": {"carrier=UA": {"DI": {"t": 1.5}, "AD": {"t": None}}, "carrier=AA": {"DI": {"t": 2.5}}},
        },
    )
    emitted = [json.loads(text) for text in capsys.readouterr().out.splitlines() if "_aws" in text]
    model, temp, prediction, carrier = emitted
    assert (model["Evidence"], model["Estimated_brier"], model["Attribution_ndcg"]) == ([0.5], [0.1], [0.9])
    assert "Quality_roc_auc" not in model
    assert (temp["Feature"], temp["Drift"], temp["Missing"]) == ("temp", [0.1], [0.02])
    assert (prediction["Feature"], prediction["Drift"]) == ("prediction", [0.2])
    assert (carrier["Facet"], carrier["BiasMove"]) == ("carrier", [2.5])


def test_findings_tell_signals_apart(bucket, executions):
    captured(bucket, "2013-04-04T10:00:00Z", 20)
    first = pick(scheduled())
    drift = recorded(bucket, first, [DRIFT])["signal"]
    again = pick(asked(first["window"]["start"], first["window"]["end"]), "two")
    assert recorded(bucket, again, [DRIFT], "two")["signal"] == drift
    more = pick(asked(first["window"]["start"], first["window"]["end"], "event-11"), "three")
    assert recorded(bucket, more, [DRIFT, LOSS], "three")["signal"] != drift


def test_a_failed_analysis_is_told_and_leaves_the_window_open(bucket, ledger):
    captured(bucket, "2013-04-04T10:00:00Z", 20)
    plan = pick(scheduled())
    error = {
        "Error": "States.TaskFailed",
        "Cause": json.dumps(
            {"ProcessingJobName": "j", "ProcessingJobStatus": "Failed", "ExitMessage": "no baseline"}
        ),
    }
    failure = {"plan": plan, "error": error, "execution": execution("one", "monitor")}
    reason = record_failure.handler(failure, world.CONTEXT)["reason"]
    assert reason.startswith("ProcessingJob j failed: no baseline (logs: /aws/sagemaker/ProcessingJobs")
    assert ledger.need("flights", f"WINDOW#{plan['key']}")["status"] == "Failed"
    assert pick(asked(plan["window"]["start"], plan["window"]["end"]), "two")["status"] == "Ready"


def test_one_hour_more_is_read_for_lines_that_were_written_late(bucket):
    start, end = times.parse("2013-04-01T00:00:00Z"), times.parse("2013-04-01T02:00:00Z")
    for hour in range(5):
        bucket.put(f"capture/e/main/2013/04/01/{hour:02}/a.jsonl", "{}")
    found = [file["Key"] for file in capture.files("bucket", "capture/e/main/", start, end)]
    assert [key[-10:-8] for key in found] == ["00", "01", "02"]


def test_a_window_carries_on_where_the_last_one_of_its_version_ended(ledger, bucket):
    def analysed(start, end, version, status="Completed"):
        key = f"{times.compact(times.parse(start))}_{times.compact(times.parse(end))}"
        record = {"start": start, "end": end, "version": version, "status": status, "execution": "e"}
        ledger.commit(records.put("flights", f"WINDOW#{key}", record))
        return f"s3://bucket/monitor/flights/{key}/state/"

    version = ledger.get("flights", "CHAMPION")["version"]
    captured(bucket, "2013-04-02T10:00:00Z", rows=1000)
    assert pick(scheduled())["state"] is None
    first = analysed("2013-03-18T00:00:00Z", "2013-03-25T00:00:00Z", version)
    analysed("2013-03-25T00:00:00Z", "2013-04-01T00:00:00Z", version, "NoData")
    analysed("2013-03-25T00:00:00Z", "2013-04-01T01:00:00Z", version)  # overlaps this one
    analysed("2013-03-26T00:00:00Z", "2013-04-01T00:00:00Z", version + 1)  # of another model
    for day in (24, 26):
        bucket.put(f"labels/flights/2013/03/{day}/09/a.jsonl", "{}")
    plan = pick(scheduled("2013-04-08T00:00:01Z"), "two")
    assert plan["state"] == first
    assert bucket.json(plan["labels"])[1:] == ["2013/03/26/09/a.jsonl"]  # came while nothing was analysed


@pytest.mark.parametrize(
    ("size", "files", "wanted"), [(10, 3, 1), (70e9, 500, 4), (70e9, 2, 2), (9e12, 999, 10)]
)
def test_a_large_window_is_split_over_instances(size, files, wanted):
    assert pick_window.instances(int(size), files) == wanted
