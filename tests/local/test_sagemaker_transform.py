import pytest

from tests.local.fakes import ROLE
from tests.local.jobs import BUCKET, IMAGE, get, put, refused, run

SERVER = """
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200, b'')
    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        if b'bad' in body:
            return self.answer(400, b'no such column')
        self.answer(200, os.environ['MARK'].encode() + b','.join(body.split()) + b'\\n')
    def answer(self, status, body):
        self.send_response(status)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

HTTPServer(('127.0.0.1', int(os.environ['SAGEMAKER_BIND_TO_PORT'])), Handler).serve_forever()
"""


@pytest.fixture
def model(service, script):
    script(SERVER)
    container = {"Image": IMAGE, "Environment": {"MARK": "model:"}}
    service.call("CreateModel", {"ModelName": "m", "PrimaryContainer": container, "ExecutionRoleArn": ROLE})


def transform(name="transform-1", split="Line", assemble="Line", **fields):
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/in/"}
    return {
        "TransformJobName": name,
        "ModelName": "m",
        "TransformInput": {
            "DataSource": {"S3DataSource": source},
            "ContentType": "text/csv",
            "SplitType": split,
        },
        "TransformOutput": {"S3OutputPath": f"s3://{BUCKET}/out", "AssembleWith": assemble},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    } | fields


@pytest.mark.usefixtures("model")
def test_each_input_gets_an_output_beside_its_name(service, s3):
    put(s3, "in/a.csv", "1\n2\n")
    put(s3, "in/deep/b.csv", "3\n4\n")
    fields = {"Environment": {"MARK": "job:"}, "MaxConcurrentTransforms": 2}
    answer = run(service, "TransformJob", transform(**fields))
    assert answer["TransformJobStatus"] == "Completed", answer
    assert get(s3, "out/a.csv.out") == "job:1,2\n" and get(s3, "out/deep/b.csv.out") == "job:3,4\n"
    run(service, "TransformJob", transform("transform-2", BatchStrategy="SingleRecord"))
    assert get(s3, "out/a.csv.out") == "model:1\nmodel:2\n"


@pytest.mark.usefixtures("model")
def test_a_container_that_refuses_a_record_fails_the_job(service, s3):
    put(s3, "in/a.csv", "bad\n")
    answer = run(service, "TransformJob", transform())
    assert answer["TransformJobStatus"] == "Failed"
    assert "Bad HTTP status received from algorithm: 400: no such column" in answer["FailureReason"]


@pytest.mark.usefixtures("model")
def test_a_transform_request_is_checked(service):
    assert "Could not find model" in refused(service, "CreateTransformJob", transform(ModelName="n"))[1]
    assert "by Line" in refused(service, "CreateTransformJob", transform(split="TFRecord"))[1]
