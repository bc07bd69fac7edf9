"""MiniStack is as local/ministack.py knows it: each private name that is touched, one by one."""

import pytest

from local import ministack


def test_the_installed_version_is_the_one_that_was_read() -> None:
    assert ministack.installed_version() == ministack.VERSION, (
        "MiniStack was upgraded: read what changed behind every name in local/ministack.py, then set VERSION"
    )


@pytest.mark.parametrize("name", sorted(ministack.NAMES))
def test_name_is_as_expected(name: str) -> None:
    assert ministack.problem(name) is None


def test_a_name_that_is_gone_is_reported_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ministack.NAMES, "send_sns", ("services.eventbridge", "_gone", "(arn, payload)"))
    with pytest.raises(
        RuntimeError, match=r"services\.eventbridge\._gone \('send_sns' in local/ministack\.py\) is gone"
    ):
        ministack.check()


def test_a_changed_signature_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    module, attribute, _ = ministack.NAMES["send_sns"]
    monkeypatch.setitem(ministack.NAMES, "send_sns", (module, attribute, "(arn, payload, subject)"))
    assert "not (arn, payload, subject)" in (ministack.problem("send_sns") or "")
