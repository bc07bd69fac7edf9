from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from local import stack
from tests.loop import folders
from tests.loop.site import Site

NOW = datetime(2013, 3, 1, tzinfo=UTC)
# What is in service when the failures begin, all published at once: one that its policy approves, one that
# new files of data train, one whose owner approves and that has schedules.
MODELS = {
    "swift": folders.APPROVED_BY_POLICY,
    "files": folders.TRAINED_ON_NEW_DATA,
    "careful": folders.BY_CANARY_ON_SCHEDULE,
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The loop first: its stack is gone before the one of all the other tests here starts."""
    items.sort(key=lambda item: item.path.name != "test_loop.py" and item.path.parent.name == "loop")
    for item in items:
        if item.path.parent.name == "loop":  # where others compute beside it a loop takes its time
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One stack for all, with a champion of each model in service."""
    root = tmp_path_factory.mktemp("site")
    with stack.running(port=0, directory=root / "state") as running:
        running.clock.set(NOW, frozen=True)
        found = Site(running, root / "models")
        with found.watch:
            data = folders.parquet(folders.sample())
            for name, edits in MODELS.items():
                found.upload(name, "2013.parquet", data)
                found.publish(name, edits)
            for name, edits in MODELS.items():
                if edits is not folders.APPROVED_BY_POLICY:
                    found.approve(name, found.pending(name))
            for name in MODELS:
                found.wait(f"{name} in service", lambda name=name: found.view(name)["champion"])
            yield found


@pytest.fixture(autouse=True)
def rest(request: pytest.FixtureRequest) -> None:
    """A test begins when what the one before started has ended, however that test ended."""
    if "site" in request.fixturenames:
        site = request.getfixturevalue("site")
        site.wait("the machines to rest", lambda: not site.watch.running())
