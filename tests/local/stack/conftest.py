from collections.abc import Iterator

import pytest

from local import stack
from tests.local.stack.account import Account


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stack.Stack]:
    """One server for all tests of the local stack; each test makes what it needs under names of its own."""
    directory = tmp_path_factory.mktemp("stack") / "state"
    with stack.running(port=0, deploy=False, directory=directory) as found:
        yield found


@pytest.fixture(scope="session")
def account(running: stack.Stack) -> Account:
    return Account(running)
