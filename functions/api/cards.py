"""The model card of a version, for whoever has to decide on it."""

from approvals import find
from champions import LEDGER
from evergreen import card, settings
from evergreen.errors import AwsNotFound
from refusals import Refused

PREFIX = settings.required("PREFIX")


def page(model: str, version: str) -> str:
    """The page as of now; 404 for a version that was registered without one."""
    package = find(model, version)
    try:
        return card.page(LEDGER, PREFIX, package)
    except AwsNotFound as error:
        raise Refused(404, f"version {version} of {model} has no card") from error
