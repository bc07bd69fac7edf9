import io
import json
import tarfile
import time

import pytest

from local.sagemaker.jobs import Runner
from tests.local.jobs import (
    BUCKET,
    IMAGE,
    channel,
    get,
    processing,
    put,
    refused,
    run,
    sink,
    source,
    training,
    wait_for_log,
)


def test_a_training_job_turns_channels_into_a_model(service, s3, script):
    put(s3, "data/part/a.csv", "1")
    put(s3, "data/b.csv", "2")
    put(s3, "data-other", "3")
    script("""
assert sys.argv[1] == 'train'
config = json.loads((base / 'input/config/hyperparameters.json').read_text())
assert config['code'] == f'{base}/input/data/code' and config['epochs'] == '3', config
assert json.loads((base / 'input/config/resourceconfig.json').read_text())['hosts'] == ['algo-1']
channels = json.loads((base / 'input/config/inputdataconfig.json').read_text())
assert channels['train']['ContentType'] == 'text/csv'
assert os.environ['TRAINING_JOB_NAME'] == 'train-1' and os.environ['WHERE'] == f'{base}/model'
folder = base / 'input/data/train'
found = sorted(str(p.relative_to(folder)) for p in folder.rglob('*.csv'))
print('loss=0.5;\\nloss=0.25; auc: 0.8')
(base / 'model/found.json').write_text(json.dumps(found))
(base / 'output/data/notes.txt').write_text('n')
""")
    answer = run(
        service,
        "TrainingJob",
        training(
            InputDataConfig=[channel("train", f"s3://{BUCKET}/data/", ContentType="text/csv")],
            HyperParameters={"code": "/opt/ml/input/data/code", "epochs": "3"},
            Environment={"WHERE": "/opt/ml/model"},
            AlgorithmSpecification={
                "TrainingImage": IMAGE,
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.]+);"}],
            },
        ),
    )
    assert answer["TrainingJobStatus"] == "Completed", answer
    artifacts = answer["ModelArtifacts"]["S3ModelArtifacts"]
    assert artifacts == f"s3://{BUCKET}/out/train-1/output/model.tar.gz"
    body = s3.get_object(Bucket=BUCKET, Key="out/train-1/output/model.tar.gz")["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        assert json.load(tar.extractfile("found.json")) == ["b.csv", "part/a.csv"]
    assert s3.head_object(Bucket=BUCKET, Key="out/train-1/output/output.tar.gz")["ContentLength"]
    assert [t["Status"] for t in answer["SecondaryStatusTransitions"]] == [
        "Downloading",
        "Training",
        "Uploading",
        "Completed",
    ]
    assert [(m["MetricName"], m["Value"]) for m in answer["FinalMetricDataList"]] == [("loss", 0.25)]
    assert answer["BillableTimeInSeconds"] >= 1
    (group, stream), lines = next(iter(service.host.logs.items()))
    assert group == "/aws/sagemaker/TrainingJobs" and stream.startswith("train-1/algo-1-")
    assert lines == ["loss=0.5;", "loss=0.25; auc: 0.8"]
    seen = [(d["TrainingJobStatus"], d["SecondaryStatus"]) for _, d, _ in service.host.events]
    assert seen[0] == ("InProgress", "Starting") and seen[-1] == ("Completed", "Completed")
    kind, detail, resources = service.host.events[-1]
    assert kind == "SageMaker Training Job State Change" and resources == [answer["TrainingJobArn"]]
    assert isinstance(detail["TrainingEndTime"], int) and json.dumps(detail)


def test_a_training_script_that_crashes_says_why(service, script):
    script("(base / 'output/failure').write_text('KeyError: late')\nsys.exit(3)")
    answer = run(service, "TrainingJob", training())
    assert answer["TrainingJobStatus"] == "Failed"
    assert answer["FailureReason"] == "AlgorithmError: KeyError: late, exit code: 3"


def test_a_script_killed_by_a_signal_has_dockers_exit_code(service, script):
    script("import signal\nos.kill(os.getpid(), signal.SIGKILL)")
    answer = run(service, "TrainingJob", training())
    assert answer["FailureReason"] == "AlgorithmError: , exit code: 137"


@pytest.mark.parametrize(
    "params",
    [
        {"InputDataConfig": [channel("train", f"s3://{BUCKET}/nothing/")]},
        {"InputDataConfig": [channel("train", "s3://no-such-bucket/data")]},
        {"AlgorithmSpecification": {"TrainingImage": "other:1", "TrainingInputMode": "File"}},
    ],
    ids=["empty prefix", "no bucket", "unknown image"],
)
def test_what_the_caller_got_wrong_is_a_client_error(service, script, params):
    script("")
    answer = run(service, "TrainingJob", training(**params))
    assert answer["TrainingJobStatus"] == "Failed"
    assert answer["FailureReason"].startswith("ClientError: ")


def test_a_stopped_job_gets_sigterm_and_keeps_its_model(service, s3, script):
    script("""
import signal
def leave(*_):
    (base / 'model/partial').write_text('p')
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print('ready', flush=True)
time.sleep(60)
""")
    service.call("CreateTrainingJob", training())
    wait_for_log(service, "ready")
    service.call("StopTrainingJob", {"TrainingJobName": "train-1"})
    answer = service.part(Runner).wait("TrainingJob", "train-1", 10)
    assert (answer["TrainingJobStatus"], answer["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert "S3ModelArtifacts" in answer["ModelArtifacts"]
    statuses = [detail["TrainingJobStatus"] for _, detail, _ in service.host.events]
    assert statuses[-2:] == ["Stopping", "Stopped"]
    _, message = refused(service, "StopTrainingJob", {"TrainingJobName": "train-1"})
    assert message == "The request was rejected because the training job is in status Stopped."


def test_a_job_that_ignores_sigterm_is_killed(service, script):
    service.host.time_scale = 1200.0
    script("import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready')\ntime.sleep(60)")
    service.call("CreateProcessingJob", processing())
    wait_for_log(service, "ready")
    service.call("StopProcessingJob", {"ProcessingJobName": "process-1"})
    answer = service.part(Runner).wait("ProcessingJob", "process-1", 10)
    assert answer["ProcessingJobStatus"] == "Stopped"


def test_a_job_may_not_run_longer_than_it_said(service, script):
    script("time.sleep(60)")
    answer = run(service, "TrainingJob", training(StoppingCondition={"MaxRuntimeInSeconds": 1}))
    assert (answer["TrainingJobStatus"], answer["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


def test_a_name_is_used_once(service, script):
    script("")
    run(service, "TrainingJob", training())
    code, message = refused(service, "CreateTrainingJob", training())
    assert code == "ResourceInUse" and message.startswith("Training job names must be unique")
    code, message = refused(service, "DescribeTrainingJob", {"TrainingJobName": "other"})
    assert (code, message) == ("ValidationException", "Requested resource not found.")


def test_a_processing_job_reads_a_manifest_and_writes_folders(service, s3, script):
    put(s3, "d/one.csv", "1")
    put(s3, "d/deep/two.csv", "2")
    put(s3, "d/three.csv", "3")
    put(s3, "m.json", json.dumps([{"prefix": f"s3://{BUCKET}/d/"}, "one.csv", "deep/two.csv"]))
    script("""
folder = base / 'processing/input/data'
found = {str(p.relative_to(folder)): p.read_text() for p in folder.rglob('*.csv')}
config = json.loads((base / 'config/processingjobconfig.json').read_text())
assert config['ProcessingInputs'][0]['S3Input']['LocalPath'] == str(folder)
assert os.environ['OUT'] == sys.argv[2] == f'{base}/processing/output/report', sys.argv
(pathlib.Path(sys.argv[2]) / 'found.json').write_text(json.dumps(found))
(base / 'output/message').write_text('2 files read')
""")
    params = processing(
        inputs=[source("data", f"s3://{BUCKET}/m.json", "ManifestFile")],
        outputs=[sink("report")],
        Environment={"OUT": "/opt/ml/processing/output/report"},
    )
    params["AppSpecification"]["ContainerArguments"] = ["report", "/opt/ml/processing/output/report"]
    answer = run(service, "ProcessingJob", params)
    assert (answer["ProcessingJobStatus"], answer["ExitMessage"]) == ("Completed", "2 files read"), answer
    assert json.loads(get(s3, "made/report/found.json")) == {"one.csv": "1", "deep/two.csv": "2"}
    assert [d["ProcessingJobStatus"] for _, d, _ in service.host.events] == ["InProgress", "Completed"]
    assert "ExitMessage" in answer and not (service.root / "processing-job" / "process-1").exists()


def test_hosts_of_a_processing_job_share_the_keys(service, s3, script):
    for number in range(5):
        put(s3, f"d/{number}")
    put(s3, "code/all.py")
    script("""
config = json.loads((base / 'config/resourceconfig.json').read_text())
assert config['hosts'] == ['algo-1', 'algo-2'] and (base / 'processing/input/code/all.py').exists()
names = sorted(p.name for p in (base / 'processing/input/data').iterdir())
(base / f"processing/output/report/{config['current_host']}").write_text(' '.join(names))
""")
    params = processing(
        count=2,
        inputs=[
            source("data", f"s3://{BUCKET}/d/", spread="ShardedByS3Key"),
            source("code", f"s3://{BUCKET}/code"),
        ],
        outputs=[sink("report")],
    )
    assert run(service, "ProcessingJob", params)["ProcessingJobStatus"] == "Completed"
    assert get(s3, "made/report/algo-1") == "0 2 4" and get(s3, "made/report/algo-2") == "1 3"


def test_a_host_that_fails_ends_the_job(service, script):
    script("""
host = json.loads((base / 'config/resourceconfig.json').read_text())['current_host']
if host == 'algo-2':
    (base / 'output/message').write_text('no such column')
    sys.exit(7)
time.sleep(60)
""")
    answer = run(service, "ProcessingJob", processing(count=2))
    assert answer["ProcessingJobStatus"] == "Failed" and answer["ExitMessage"] == "no such column"
    assert answer["FailureReason"] == "AlgorithmError: , exit code: 7"


def test_python_in_an_entrypoint_is_this_interpreter(service, s3, script):
    script("")
    put(s3, "code/run.py", "import sys; sys.exit(0 if sys.argv[1] == 'go' else 1)")
    params = processing(
        inputs=[source("code", f"s3://{BUCKET}/code/run.py")],
        entrypoint=["python3", "/opt/ml/processing/input/code/run.py", "go"],
    )
    assert run(service, "ProcessingJob", params)["ProcessingJobStatus"] == "Completed"


@pytest.mark.parametrize("isolated", [True, False])
def test_an_isolated_container_has_no_credentials(service, script, isolated):
    script("sys.exit('AWS_ACCESS_KEY_ID' in os.environ)")
    params = processing(NetworkConfig={"EnableNetworkIsolation": isolated})
    answer = run(service, "ProcessingJob", params)
    assert answer["ProcessingJobStatus"] == ("Completed" if isolated else "Failed")


def test_local_paths_are_checked(service):
    wrong = source("data", f"s3://{BUCKET}/d/")
    wrong["S3Input"]["LocalPath"] = "/tmp/data"
    assert "must begin with" in refused(service, "CreateProcessingJob", processing(inputs=[wrong]))[1]
    twice = [source("data", f"s3://{BUCKET}/d/")] * 2
    assert "of its own" in refused(service, "CreateProcessingJob", processing(inputs=twice))[1]


def test_jobs_take_turns(service, script):
    script("time.sleep(0.2)")
    for number in range(3):
        service.call("CreateProcessingJob", processing(f"p-{number}"))
    answers = [service.part(Runner).wait("ProcessingJob", f"p-{number}", 10) for number in range(3)]
    first_two_end = min(answer["ProcessingEndTime"] for answer in answers[:2])
    assert answers[2]["ProcessingStartTime"] >= first_two_end
    listed = service.call("ListProcessingJobs", {"StatusEquals": "Completed", "SortOrder": "Ascending"})
    assert [row["ProcessingJobName"] for row in listed["ProcessingJobSummaries"]] == ["p-0", "p-1", "p-2"]


def test_close_ends_what_runs(service, script):
    script("print('ready')\ntime.sleep(60)")
    service.call("CreateProcessingJob", processing())
    wait_for_log(service, "ready")
    started = time.monotonic()
    service.close()
    assert time.monotonic() - started < 2
