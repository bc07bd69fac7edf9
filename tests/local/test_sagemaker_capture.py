"""Data capture of the local SageMaker: the lines, the files, and that none is lost."""

import base64
from datetime import UTC, datetime, timedelta

import pytest

from local import clock
from local.sagemaker import capture
from local.sagemaker.capture import Capture, Payload
from tests.local.hosted import FakeS3, Hosted, SteadyClient, blue_green, percent, variant

NOON = datetime(2013, 7, 4, 12, 30, 5, 250_000, UTC)
CONFIG = {
    "InitialSamplingPercentage": 100,
    "DestinationS3Uri": "s3://bucket/capture",
    "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
    "CaptureContentTypeHeader": {
        "CsvContentTypes": ["text/csv"],
        "JsonContentTypes": ["application/json", "application/jsonlines"],
    },
}


@pytest.fixture(autouse=True)
def machines_clock():
    yield
    clock.reset()


@pytest.fixture
def hosted(tmp_path):
    hosted = Hosted(tmp_path)
    yield hosted
    hosted.close()


def recorder(s3=None, now=NOON, **changes) -> tuple[Capture, FakeS3]:
    s3 = s3 or FakeS3()
    return Capture("e", CONFIG | changes, s3, lambda: now), s3


def served_with_capture(hosted: Hosted, name: str, **changes) -> None:
    hosted.model(name)
    hosted.config(name, variant(name), DataCaptureConfig={"EnableCapture": True, **CONFIG, **changes})


def test_a_line_is_aws_s():
    recording, s3 = recorder()
    request, response = Payload("text/csv", b"1,2\n"), Payload("text/csv; charset=utf-8", b"0.5")
    recording.record("main", request, response, inference_id="f-1", attributes="a=1")
    recording.flush()
    (line,) = s3.lines()
    event_id = line["eventMetadata"].pop("eventId")
    assert len(event_id) == 36
    assert line == {
        "captureData": {
            "endpointInput": {
                "observedContentType": "text/csv",
                "mode": "INPUT",
                "data": "1,2\n",
                "encoding": "CSV",
            },
            "endpointOutput": {
                "observedContentType": "text/csv; charset=utf-8",
                "mode": "OUTPUT",
                "data": "0.5",
                "encoding": "CSV",
            },
        },
        "eventMetadata": {
            "inferenceTime": "2013-07-04T12:30:05Z",
            "inferenceId": "f-1",
            "customAttributes": ["a=1"],
        },
        "eventVersion": "0",
    }


def test_a_file_is_named_by_endpoint_variant_and_hour():
    recording, s3 = recorder()
    recording.record("main", Payload("text/csv", b"1"), Payload("text/csv", b"2"))
    recording.flush()
    (key,) = s3.objects
    assert key.startswith("s3://bucket/capture/e/main/2013/07/04/12/30-05-250-") and key.endswith(".jsonl")


@pytest.mark.parametrize(
    "content_type, body, encoding",
    [
        ("application/jsonlines", b'{"a": 1}\n{"a": 2}', "JSON"),
        ("Application/JSON", b"{}", "JSON"),
        ("application/x-npy", b"\x93NUMPY", "BASE64"),
        ("text/csv", b"\xff\xfe", "BASE64"),
        ("", b"x", "BASE64"),
    ],
)
def test_the_encoding_follows_the_listed_content_types(content_type, body, encoding):
    recording, s3 = recorder()
    recording.record("main", Payload(content_type, body), Payload("text/csv", b""))
    recording.flush()
    side = s3.lines()[0]["captureData"]["endpointInput"]
    data = base64.b64decode(side["data"]) if encoding == "BASE64" else side["data"].encode()
    assert (side["encoding"], data) == (encoding, body)


def test_what_is_not_listed_is_base64_even_csv():
    recording, s3 = recorder(CaptureContentTypeHeader={})
    recording.record("main", Payload("text/csv", b"1"), Payload("text/csv", b"2"))
    recording.flush()
    assert s3.lines()[0]["captureData"]["endpointInput"]["encoding"] == "BASE64"


@pytest.mark.parametrize(
    "mode, sides", [("Input", ["endpointInput"]), ("InputAndOutput", ["endpointInput", "endpointOutput"])]
)
def test_only_the_chosen_sides_are_captured(mode, sides):
    recording, s3 = recorder(CaptureOptions=[{"CaptureMode": mode}])
    recording.record("main", Payload("text/csv", b"1"), Payload("text/csv", b"2"))
    recording.flush()
    assert list(s3.lines()[0]["captureData"]) == sides


def test_the_percentage_is_each_requests_chance(monkeypatch):
    drawn = iter([0.1, 0.29, 0.3, 0.9])
    monkeypatch.setattr(capture.random, "random", lambda: next(drawn))
    recording, s3 = recorder(InitialSamplingPercentage=30)
    for number in range(4):
        recording.record("main", Payload("text/csv", str(number).encode()), Payload("text/csv", b""))
    recording.flush()
    assert [line["captureData"]["endpointInput"]["data"] for line in s3.lines()] == ["0", "1"]


def test_each_hour_and_variant_has_files_of_its_own():
    times = [NOON, NOON + timedelta(hours=1)]
    s3 = FakeS3()
    moments = iter([times[0], times[1], times[1]])
    recording = Capture("e", CONFIG, s3, lambda: next(moments))
    for name in ("main", "main", "other"):
        recording.record(name, Payload("text/csv", b"1"), Payload("text/csv", b"2"))
    recording.flush()
    folders = sorted(key.rpartition("/")[0].removeprefix("s3://bucket/capture/e/") for key in s3.objects)
    assert folders == ["main/2013/07/04/12", "main/2013/07/04/13", "other/2013/07/04/13"]


def test_a_file_ends_at_a_megabyte(monkeypatch):
    monkeypatch.setattr(capture, "LARGEST_FILE", 1000)
    recording, s3 = recorder()
    for _ in range(10):
        recording.record("main", Payload("text/csv", b"1" * 300), Payload("text/csv", b"2"))
    recording.flush()
    assert len(s3.objects) == 5 and len(s3.lines()) == 10


def test_a_failed_upload_loses_nothing_and_keeps_the_order():
    recording, s3 = recorder()
    s3.is_down = True
    recording.record("main", Payload("text/csv", b"1"), Payload("text/csv", b""))
    recording.flush()
    recording.record("main", Payload("text/csv", b"2"), Payload("text/csv", b""))
    recording.flush()
    assert recording.is_pending() and not s3.objects
    s3.is_down = False
    recording.flush()
    assert [line["captureData"]["endpointInput"]["data"] for line in s3.lines()] == ["1", "2"]
    assert not recording.is_pending()


def test_an_endpoint_captures_at_the_virtual_time(hosted):
    clock.set(NOON, frozen=True)
    served_with_capture(hosted, "v1")
    hosted.create("v1")
    hosted.invoke(b"1,2", Content_Type="text/csv", X_Amzn_SageMaker_Inference_Id="f-1")
    hosted.invoke(b"status 400", Content_Type="text/csv")
    hosted.service.flush_capture()
    (line,) = hosted.host.s3.lines()
    assert line["eventMetadata"]["inferenceTime"] == "2013-07-04T12:30:05Z"
    assert line["eventMetadata"]["inferenceId"] == "f-1"
    assert line["captureData"]["endpointOutput"]["data"] == "v1"
    assert hosted.describe()["DataCaptureConfig"] == {
        "EnableCapture": True,
        "CaptureStatus": "Started",
        "CurrentSamplingPercentage": 100,
        "DestinationS3Uri": "s3://bucket/capture",
        "KmsKeyId": "",
    }


def test_every_answer_is_captured_once_over_a_deployment_and_the_end(hosted):
    served_with_capture(hosted, "v1")
    served_with_capture(hosted, "v2")
    hosted.create("v1")
    with SteadyClient(hosted) as client:
        hosted.update("v2", DeploymentConfig=blue_green("CANARY", wait=300, CanarySize=percent(50)))
        hosted.settle()
    hosted.service.close()
    captured = [line["captureData"]["endpointOutput"]["data"].encode() for line in hosted.host.s3.lines()]
    assert sorted(captured) == sorted(body for _, _, body in client.answers)


def test_capture_is_off_where_the_new_configuration_has_none(hosted):
    served_with_capture(hosted, "v1")
    hosted.generation("v2")
    hosted.create("v1")
    hosted.update("v2")
    seen = hosted.settle()
    hosted.invoke()
    hosted.service.flush_capture()
    assert "DataCaptureConfig" not in seen and not hosted.host.s3.objects


def test_retained_variant_properties_keep_the_capture(hosted):
    served_with_capture(hosted, "v1")
    hosted.generation("v2")
    hosted.create("v1")
    hosted.update("v2", RetainAllVariantProperties=True)
    hosted.settle()
    hosted.invoke()
    hosted.service.flush_capture()
    assert [line["captureData"]["endpointOutput"]["data"] for line in hosted.host.s3.lines()] == ["v2"]
