"""The errors of the handlers. A class name is what a state machine matches in `ErrorEquals`.

EvergreenError
├── SettingMissing      the function's environment lacks a key (raised at import)
├── EventInvalid        an event that no rule of ours should have let through
├── SpecInvalid         model.yaml has mistakes: all of them, each with its line
├── DataMissing         a run has nothing to train on
├── RecordMissing       the ledger lacks a record that an earlier state wrote
├── BatchInvalid        what a batch scored is not what was asked for
├── LockLost            another execution took the lock over meanwhile
├── TrainingBusy        new code has to wait for the run in progress: try again later
├── EndpointBusy        an update is under way: try again later
├── EndpointFailed      only deleting the endpoint helps: a person has to
├── SamplesMissing      a run left nothing to test a staged version with
└── AwsError            what AWS answered, translated in `evergreen.aws`
    ├── AwsUnavailable  throttled, timed out or broken on their side: try again
    ├── AwsNotFound     the thing is not there
    ├── AwsConflict     a condition did not hold
    ├── AwsDenied       the role lacks a permission
    └── AwsRejected     the request itself is wrong
"""


class EvergreenError(Exception):
    """Root of the tree."""


class SettingMissing(EvergreenError):
    """The function's environment lacks a key."""


class EventInvalid(EvergreenError):
    """An event that no rule of ours should have let through."""


class SpecInvalid(EvergreenError):
    """model.yaml has mistakes; the message lists every one with its line."""


class DataMissing(EvergreenError):
    """A run has nothing to train on."""


class RecordMissing(EvergreenError):
    """The ledger lacks a record that an earlier state wrote."""


class BatchInvalid(EvergreenError):
    """What a batch scored is not what was asked for."""


class LockLost(EvergreenError):
    """Another execution took the lock over meanwhile."""


class TrainingBusy(EvergreenError):
    """New code came while a run is in progress: it waits, as nothing would ask for its training again."""


class EndpointBusy(EvergreenError):
    """An update is under way on the endpoint; the caller tries again later."""


class EndpointFailed(EvergreenError):
    """The endpoint is Failed, which SageMaker never ends by itself: all that it takes is to be deleted."""


class SamplesMissing(EvergreenError):
    """The run left nothing to test a staged version with."""


class AwsError(EvergreenError):
    """What AWS answered. `code` is AWS's own error code."""

    def __init__(self, message: str, code: str = ""):
        super().__init__(message)
        self.code = code


class AwsUnavailable(AwsError):
    """Throttled, timed out or broken on their side: worth another try."""


class AwsNotFound(AwsError):
    """The thing is not there."""


class AwsConflict(AwsError):
    """A condition did not hold. `failed` has the places of a transaction's items that refused it."""

    def __init__(self, message: str, code: str = "", failed: frozenset[int] = frozenset()):
        super().__init__(message, code)
        self.failed = failed


class AwsDenied(AwsError):
    """The role lacks a permission."""


class AwsRejected(AwsError):
    """The request itself is wrong."""
