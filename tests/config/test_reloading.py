"""Files that are read again while a process runs."""

import logging

import pytest

from app.config.reloading import READ_EVERY_S, ReloadableMapping
from app.domain.errors import OperatorError


class ScriptedSource:
    """Sets what is read and the time, and counts the reads."""

    def __init__(self) -> None:
        self.values: dict[str, int] | OperatorError = {"a": 1}
        self.reads = 0
        self.seconds = 0.0
        self.reloaded = ReloadableMapping("projects", self._read, lambda: self.seconds)

    def _read(self) -> dict[str, int]:
        self.reads += 1
        if isinstance(self.values, OperatorError):
            raise self.values
        return self.values


@pytest.fixture
def source() -> ScriptedSource:
    return ScriptedSource()


def test_nothing_is_read_before_it_is_needed_nor_more_often_than_every_few_seconds(source: ScriptedSource) -> None:
    assert source.reads == 0
    assert [source.reloaded["a"], len(source.reloaded), list(source.reloaded)] == [1, 1, ["a"]]
    assert source.reads == 1
    source.seconds += READ_EVERY_S
    assert (source.reloaded["a"], source.reads) == (1, 2)


def test_a_change_is_seen_after_a_few_seconds(source: ScriptedSource, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bridge")
    assert source.reloaded["a"] == 1
    source.values = {"a": 2}
    assert source.reloaded["a"] == 1
    source.seconds += READ_EVERY_S
    assert source.reloaded["a"] == 2
    assert caplog.messages == ["projects.reloaded"]


def test_a_change_is_seen_at_once_when_asked_for(source: ScriptedSource) -> None:
    assert source.reloaded["a"] == 1
    source.values = {"a": 2}
    source.reloaded.reload()
    assert source.reloaded["a"] == 2


def test_what_cannot_be_read_at_first_is_an_error_each_time(source: ScriptedSource) -> None:
    source.values = OperatorError("broken")
    for _ in range(2):
        with pytest.raises(OperatorError, match="broken"):
            len(source.reloaded)


def test_what_cannot_be_read_later_leaves_what_was_and_is_logged_once(
    source: ScriptedSource, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bridge")
    assert source.reloaded["a"] == 1
    good, source.values = source.values, OperatorError("broken")
    for _ in range(3):
        source.seconds += READ_EVERY_S
        assert source.reloaded["a"] == 1
    assert [(record.message, record.fields["reason"]) for record in caplog.records] == [  # type: ignore[attr-defined]
        ("projects.not_reloaded", "broken")
    ]
    source.values = good
    source.seconds += READ_EVERY_S
    assert source.reloaded["a"] == 1
    assert caplog.messages[1:] == ["projects.reloaded"]
