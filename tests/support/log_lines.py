"""Reads the bridge's log lines from pytest's caplog."""

import pytest


def event_names(caplog: pytest.LogCaptureFixture, prefix: str) -> list[str]:
    """Returns the names of the logged events that start with `prefix`, in order."""
    return [record.getMessage() for record in caplog.records if record.getMessage().startswith(prefix)]
