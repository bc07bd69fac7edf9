"""Batch transforms of the local SageMaker: filters, joins, inference ids, several instances, retries."""

import json
import re

import pytest

from local.sagemaker import records
from local.sagemaker.records import Mismatch, Processing
from tests.local.fakes import ROLE
from tests.local.jobs import BUCKET, IMAGE, get, put, refused, run
from tests.local.test_sagemaker_transform import transform

# Answers JSON lines with the number of fields of each row, and says who it is and what it was told.
SERVER = """
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FAILURES = int(os.environ.get('FAILURES', '0'))

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200, b'')
    def do_POST(self):
        global FAILURES
        body = self.rfile.read(int(self.headers['Content-Length']))
        if FAILURES:
            FAILURES -= 1
            return self.answer(500, b'not yet')
        rows = [json.loads(line) for line in body.splitlines()]
        if os.environ.get('SHORT'):
            rows = rows[1:]
        names = ('BATCH', 'MAX_PAYLOAD_IN_MB', 'BATCH_STRATEGY')
        told = {'pid': os.getpid(), 'told': [os.environ.get('SAGEMAKER_' + name) for name in names]}
        lines = [json.dumps({'fields': len(row), 'rows': len(rows), **told}) for row in rows]
        self.answer(200, '\\n'.join(lines).encode())
    def answer(self, status, body):
        self.send_response(status)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

ThreadingHTTPServer(('127.0.0.1', int(os.environ['SAGEMAKER_BIND_TO_PORT'])), Handler).serve_forever()
"""
ROWS = "".join(json.dumps({"id": place, "a": 1, "b": "ü"}) + "\n" for place in range(5))


@pytest.fixture
def model(service, script):
    script(SERVER)
    params = {"PrimaryContainer": {"Image": IMAGE}, "ExecutionRoleArn": ROLE}
    service.call("CreateModel", {"ModelName": "m", **params})


def lines(name="transform-1", **fields):
    """A transform of JSON lines."""
    params = transform(name)
    params["TransformInput"] |= {"ContentType": records.JSON_LINES}
    params["TransformOutput"] |= {"Accept": records.JSON_LINES}
    return params | fields


def scored(service, s3, params, file="in/a.jsonl"):
    """The output's lines, once the job has completed."""
    answer = run(service, "TransformJob", params)
    assert answer["TransformJobStatus"] == "Completed", answer
    return [json.loads(line) for line in get(s3, f"{file.replace('in/', 'out/')}.out").splitlines()]


@pytest.mark.usefixtures("model")
def test_predictions_are_joined_to_their_records(service, s3):
    put(s3, "in/a.jsonl", ROWS)
    processing = {
        "InputFilter": "$['a','b']",
        "JoinSource": "Input",
        "OutputFilter": "$['id','SageMakerOutput']",
    }
    found = scored(service, s3, lines(DataProcessing=processing))
    assert [row["id"] for row in found] == list(range(5))
    assert all(set(row) == {"id", "SageMakerOutput"} for row in found)
    assert {row["SageMakerOutput"]["fields"] for row in found} == {2}, "the id was not sent"
    assert {row["SageMakerOutput"]["rows"] for row in found} == {5}, "as many as fit into a payload"


@pytest.mark.usefixtures("model")
def test_a_record_at_a_time_where_that_is_asked_and_the_container_is_told(service, s3):
    put(s3, "in/a.jsonl", ROWS)
    found = scored(service, s3, lines(BatchStrategy="SingleRecord", MaxPayloadInMB=3))
    assert {row["rows"] for row in found} == {1}
    assert found[0]["told"] == ["true", "3", "SINGLE_RECORD"]
    found = scored(service, s3, lines("transform-2"))
    assert found[0]["told"] == ["true", None, None], "what the request does not say, the container chooses"


@pytest.mark.usefixtures("model")
def test_several_instances_share_the_files(service, s3):
    for name in "abc":
        put(s3, f"in/{name}.jsonl", ROWS)
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 2}
    scored(service, s3, lines(TransformResources=resources))
    pids = {json.loads(get(s3, f"out/{name}.jsonl.out").splitlines()[0])["pid"] for name in "abc"}
    assert len(pids) == 2


@pytest.mark.usefixtures("model")
def test_capture_is_manifests_and_inference_ids(service, s3):
    put(s3, "in/a.jsonl", ROWS)
    capture = {"DestinationS3Uri": f"s3://{BUCKET}/captured", "GenerateInferenceId": True}
    found = scored(service, s3, lines(DataCaptureConfig=capture))
    assert len({row["SageMakerInferenceId"] for row in found}) == 5
    assert len({row["SageMakerInferenceTime"] for row in found}) == 1
    listed = s3.list_objects_v2(Bucket=BUCKET, Prefix="captured/")["Contents"]
    manifests = {item["Key"].split("/")[1]: json.loads(get(s3, item["Key"])) for item in listed}
    assert manifests == {
        "input": [{"prefix": f"s3://{BUCKET}/in/"}, "a.jsonl"],
        "output": [{"prefix": f"s3://{BUCKET}/out/"}, "a.jsonl.out"],
    }
    assert all(
        re.fullmatch(r"captured/\w+/\d{4}/\d\d/\d\d/\d\d/[\w-]+\.json", item["Key"]) for item in listed
    )


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize(("retries", "status"), [(3, "Completed"), (1, "Failed")])
def test_what_fails_on_the_containers_side_is_asked_again(service, s3, retries, status):
    put(s3, "in/a.jsonl", ROWS)
    fields = {"Environment": {"FAILURES": "3"}, "ModelClientConfig": {"InvocationsMaxRetries": retries}}
    answer = run(service, "TransformJob", lines(**fields))
    assert answer["TransformJobStatus"] == status
    if status == "Failed":
        assert "Bad HTTP status received from algorithm: 500: not yet" in answer["FailureReason"]


@pytest.mark.usefixtures("model")
def test_a_file_that_fails_leaves_the_others_their_outputs(service, s3):
    put(s3, "in/a.jsonl", "no JSON\n")
    put(s3, "in/b.jsonl", ROWS)
    answer = run(service, "TransformJob", lines(DataProcessing={"JoinSource": "Input"}))
    assert answer["TransformJobStatus"] == "Failed"
    made = s3.list_objects_v2(Bucket=BUCKET, Prefix="out/")["Contents"]
    assert [item["Key"] for item in made] == ["out/b.jsonl.out"]


@pytest.mark.usefixtures("model")
def test_answers_of_another_number_cannot_be_joined(service, s3):
    put(s3, "in/a.jsonl", ROWS)
    fields = {"Environment": {"SHORT": "1"}, "DataProcessing": {"JoinSource": "Input"}}
    answer = run(service, "TransformJob", lines(**fields))
    assert answer["TransformJobStatus"] == "Failed"
    assert "4 answers to 5 records cannot be joined" in answer["FailureReason"]


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"MaxPayloadInMB": 101}, "cannot exceed 100 MB"),
        ({"MaxPayloadInMB": 20, "MaxConcurrentTransforms": 6}, "cannot exceed 100 MB"),
        ({"TransformOutput": {"S3OutputPath": "s3://b/o", "Accept": "text/csv"}}, "of one kind, JSON or CSV"),
    ],
)
def test_a_request_beyond_the_limits_is_refused(service, fields, found):
    params = lines(DataProcessing={"JoinSource": "Input"}, **fields)
    assert found in refused(service, "CreateTransformJob", params)[1]


def test_only_lines_are_joined_here(service, model):
    params = lines(DataProcessing={"JoinSource": "Input"})
    params["TransformInput"]["SplitType"] = "None"
    assert "SplitType Line" in refused(service, "CreateTransformJob", params)[1]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$", {"a": [1, 2, 3], "b": {"c": "x"}}),
        ("$.a", [1, 2, 3]),
        ("$.b.c", "x"),
        ("$['b']", {"c": "x"}),
        ("$['a','b']", {"a": [1, 2, 3], "b": {"c": "x"}}),
        ("$.a[0]", 1),
        ("$.a[0,2]", [1, 3]),
        ("$.a[1:]", [2, 3]),
        ("$.a[:-1]", [1, 2]),
    ],
)
def test_paths_as_sagemaker_knows_them(path, found):
    assert records.select(path, {"a": [1, 2, 3], "b": {"c": "x"}}) == found


@pytest.mark.parametrize("path", ["$.c", "$.a[7]", "$['a','z']", "$..a", "$.a[?(@>1)]"])
def test_paths_that_lead_nowhere(path):
    with pytest.raises(ValueError, match=r"not in the record|not supported"):
        records.select(path, {"a": [1, 2, 3]})


def test_csv_is_joined_by_columns():
    asked = {"InputFilter": "$[1:]", "JoinSource": "Input", "OutputFilter": "$[0,-1]"}
    request = {"TransformInput": {"ContentType": "text/csv"}, "TransformOutput": {}, "DataProcessing": asked}
    processing = Processing(request)
    assert processing.sent(b"7,a,b\n8,c,d\n") == b"a,b\nc,d\n"
    assert processing.joined(b"7,a,b\n8,c,d\n", b"0.5\n0.25\n", "") == b"7,0.5\n8,0.25\n"
    with pytest.raises(Mismatch):
        processing.joined(b"7,a,b\n", b"0.5\n0.25\n", "")
