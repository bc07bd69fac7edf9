"""The errors that the local SageMaker answers with.

SageMaker answers most mistakes with `ValidationException`; the few modelled errors are named as in botocore's
model, without an `Exception` suffix (`ResourceInUse`, `ResourceNotFound`, `ResourceLimitExceeded`).
"""


class SageMakerError(Exception):
    """An answer other than success: `code` is what a client finds in `Error.Code`."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


def invalid(message: str) -> SageMakerError:
    """A `ValidationException`, SageMaker's answer to a request that cannot be."""
    return SageMakerError("ValidationException", message)
