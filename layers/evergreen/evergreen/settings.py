"""The function's environment, read when a handler is imported: a missing key fails the deployment's first
invocation by name, not the first event that happens to need it."""

import os

from .errors import SettingMissing


def required(name: str) -> str:
    """The value of environment variable `name`; raises SettingMissing when it is absent or empty."""
    value = os.environ.get(name, "")
    if not value:
        raise SettingMissing(f"environment variable {name} is not set; the template gives it to the function")
    return value


def optional(name: str) -> str:
    """The same of a parameter of the stack that may be left empty."""
    return os.environ.get(name, "")
