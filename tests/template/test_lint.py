"""The linter finds what it is there for: one seeded mistake each, in a machine that is clean without it."""

from pathlib import Path

import pytest
import yaml

from tests import lint_asl

CLEAN = """\
Comment: Describes a job
QueryLanguage: JSONata
TimeoutSeconds: 900
StartAt: DescribeJob
States:
  DescribeJob:
    Comment: What became of it
    Type: Task
    Resource: arn:aws:states:::aws-sdk:sagemaker:describeProcessingJob
    Arguments: { ProcessingJobName: '{% $states.input.job %}' }
    TimeoutSeconds: 60
    Retry: [{ ErrorEquals: [SageMaker.SageMakerException], MaxAttempts: 3, JitterStrategy: FULL }]
    Catch:
      - { ErrorEquals: [States.ALL], Assign: { reason: '{% $states.errorOutput.Cause %}' }, Next: JobUnknown }
    Assign: { status: '{% $states.result.ProcessingJobStatus %}' }
    Next: IsJobDone
  IsJobDone:
    Type: Choice
    Choices: [{ Condition: "{% $status = 'Completed' %}", Next: JobDone }]
    Default: StartJob
  StartJob:
    Comment: Once more
    Type: Task
    Resource: arn:aws:states:::sagemaker:createModel
    Arguments: { ModelName: m, ExecutionRoleArn: '${RoleArn}' }
    TimeoutSeconds: 60
    Retry: [{ ErrorEquals: [SageMaker.AmazonSageMakerException], MaxAttempts: 3, JitterStrategy: FULL }]
    Catch:
      - { ErrorEquals: [States.ALL], Assign: { reason: '{% $states.errorOutput.Cause %}' }, Next: JobUnknown }
    Next: JobDone
  JobDone:
    Type: Succeed
  JobUnknown:
    Type: Fail
    Error: JobUnknown
    Cause: '{% $reason %}'
"""


def findings(text: str, folder: Path) -> list[lint_asl.Finding]:
    file = folder / "job.asl.yaml"
    file.write_text(text)
    return lint_asl.check(lint_asl.load(file))


def test_the_clean_machine_is_clean(tmp_path: Path) -> None:
    assert findings(CLEAN, tmp_path) == []


@pytest.mark.parametrize(
    ("right", "wrong", "found"),
    [
        ("describeProcessingJob", "descibeProcessingJob", "sagemaker has no action descibeProcessingJob"),
        ("aws-sdk:sagemaker", "aws-sdk:sagemakr", "there is no service sagemakr"),
        (
            "states:::sagemaker:createModel",
            "states:::sagemaker:deleteModel",
            "no optimised sagemaker:deleteModel",
        ),
        ("sagemaker:createModel", "sagemaker:createModel.sync", "cannot be called as .sync"),
        ("ModelName: m", "ModelNam: m", "CreateModelInput has no member ModelNam"),
        ("ModelName: m, ", "", "CreateModelInput needs ModelName"),
        ("ModelName: m", "ModelName: 7", "ModelName is a string, not 7"),
        ("{% $status =", "{% $statsu =", "no state assigns $statsu"),
        ("{% $status = 'Completed'", "{% $status = = 'Completed'", "JSONata: "),
        ("'{% $reason %}'", "'because {% $reason %}'", "an expression is the whole string"),
        ("$states.result.Proc", "$states.errorOutput.Proc", "$states.errorOutput is there in a Catch alone"),
        ("$states.input.job", "$states.result.job", "$states.result is there in Output and Assign"),
        ("$states.input.job", "$eval($states.input)", "Step Functions has no $eval"),
        (
            "[SageMaker.SageMakerException]",
            "[SageMaker.ThrottlingException]",
            "never raises SageMaker.Throttling",
        ),
        ("[SageMaker.SageMakerException]", "[States.ALL]", "Retry names no error"),
        (", JitterStrategy: FULL", "", "Retry without JitterStrategy"),
        (
            "JitterStrategy: FULL",
            "JitterStrategy: FULL, BackoffRate: 1",
            "full jitter makes that half as long",
        ),
        ("Default: StartJob", "Default: JobDone", "StartJob: no path leads here"),
        ("Default: StartJob", "Default: StartJobs", "there is no state StartJobs"),
        ("    Comment: Once more\n", "", "StartJob: no Comment"),
        ("TimeoutSeconds: 60", "HeartbeatSeconds: 60", "no TimeoutSeconds"),
        ("TimeoutSeconds: 900\n", "", "the machine has no TimeoutSeconds"),
        ("[States.ALL]", "[States.TaskFailed]", "Catch does not end in States.ALL"),
        ("Type: Fail\n    Error: JobUnknown\n    Cause: '{% $reason %}'", "Type: Succeed", "it ends green"),
        ("Type: Succeed", "Type: Success", "statelint: "),
    ],
)
def test_a_seeded_mistake_is_found(right: str, wrong: str, found: str, tmp_path: Path) -> None:
    assert right in CLEAN
    assert any(found in finding.message for finding in findings(CLEAN.replace(right, wrong), tmp_path))


def test_a_state_that_is_there_twice_is_found(tmp_path: Path) -> None:
    with pytest.raises(yaml.MarkedYAMLError, match="JobDone is there twice"):
        findings(CLEAN + "  JobDone:\n    Type: Succeed\n", tmp_path)


def test_a_finding_stands_on_its_line(tmp_path: Path) -> None:
    (finding,) = findings(CLEAN.replace("ModelName: m", "ModelNam: m, ModelName: m"), tmp_path)
    assert CLEAN.splitlines()[finding.line - 1].strip().startswith("Arguments: { ModelName")
