"""S3's own key: `aws:kms` without a key id is the account's `aws/s3`, which every account has."""

from typing import Any

from local import ministack
from local.machine import Machine

HEADER = "x-amz-server-side-encryption"


def install(host: Machine) -> None:
    """From now on an upload may say `aws:kms` and no more, as AWS's own SageMaker SDK does."""
    plain = ministack.get("encryption_headers")

    def encryption_headers(headers: dict[str, str], bucket_name: str) -> Any:
        own = {f"{HEADER}-aws-kms-key-id": f"arn:aws:kms:{host.region}:{host.account}:alias/aws/s3"}
        return plain(own | headers if headers.get(HEADER) == "aws:kms" else headers, bucket_name)

    ministack.replace("encryption_headers", encryption_headers)
