"""Every test: no account, no credentials of the machine's, one region, no surprise from its environment."""

import os

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Before anything imports boto3: no test reaches an account, whatever the machine is logged into."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(
        AWS_ACCESS_KEY_ID="testing",
        AWS_SECRET_ACCESS_KEY="testing",
        AWS_DEFAULT_REGION="us-east-1",
        AWS_EC2_METADATA_DISABLED="true",
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        SAM_CLI_TELEMETRY="0",
    )
    # numpy's threads multiply under two cores.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
