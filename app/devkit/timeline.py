"""Merges the workers' logs and the inbox's callbacks into one timeline, one line per entry."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from app.devkit.bridge import StubProcess
from app.devkit.log_tail import LogTail, format_line

RECEIVED = "callback.received"
SHOWN_LEVELS = ("warning", "error", "critical")

TimelineEntry = dict[str, Any]


class TimelineLine(NamedTuple):
    """word: what happened. subject: to what. detail: how."""

    word: str
    subject: str
    detail: str


class Timeline:
    def __init__(self, logs: Path, inbox: StubProcess) -> None:
        self._deliver = LogTail(logs / "worker-deliver.log")
        self._inbox = inbox
        self._received = 0
        self._poll = LogTail(logs / "worker-poll.log")

    def new(self) -> list[TimelineEntry]:
        """Returns the entries since the last call, sorted by time."""
        # Reading effects before causes ensures that each shown effect has its cause. Sorting is stable: in the same
        # millisecond the cause comes first.
        delivered = self._deliver.new()
        received = self._callbacks() if delivered or len(self._inbox.lines()) > self._received else []
        polled = self._poll.new()
        return sorted((each for each in (*polled, *received, *delivered) if "time" in each), key=_time)

    def _callbacks(self) -> list[TimelineEntry]:
        """Asks the inbox over HTTP: its printed line may arrive later than the worker's log line."""
        messages = self._inbox.client.call("GET", f"/_inbox/messages?after={self._received}")["messages"]
        self._received += len(messages)
        return [{**message, "time": message["received_at"], "event": RECEIVED} for message in messages]


def describe(entry: TimelineEntry, names: Mapping[str, str]) -> TimelineLine | None:
    """Returns the line to show; None for an entry that is not shown. names: job or registration id to name."""

    def name(id: str) -> str:
        return names.get(id, id)

    match entry["event"]:
        case "job.ended":
            return TimelineLine("ended", name(entry["job_id"]), entry["state"])
        case "job.lost":
            return TimelineLine("ended", name(entry["job_id"]), "lost: CPH does not know it")
        case "callback.received":
            subject, event_type = _subject_and_type(entry)
            return TimelineLine("received", name(subject), f"{event_type}, {_signature(entry)}")
        case "delivery.attempted":
            word = "delivered" if entry["state"] == "delivered" else "attempted"
            return TimelineLine(word, name(entry["registration_id"] or "to the operator"), _attempted(entry))
        case _ if entry.get("level") in SHOWN_LEVELS:
            return TimelineLine("warning", "", format_line(entry))
    return None


def _time(entry: TimelineEntry) -> datetime:
    return datetime.fromisoformat(entry["time"])


def _subject_and_type(callback: TimelineEntry) -> tuple[str, str]:
    """Returns the id of the job or registration, or the destination, and the event type.

    Anybody may post to the inbox; a body that is not an event is named by its path.
    """
    try:
        body = json.loads(callback["body"])
        data = body["data"]
        subject = data.get("job", {}).get("job_id") or data.get("destination") or data["registration_id"]
        return str(subject or "a test"), str(body["type"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return callback["path"], "not an event"


def _signature(callback: TimelineEntry) -> str:
    return "signature verified" if callback["verified"] else "signature NOT verified: wrong secret or unsigned"


def _attempted(attempt: TimelineEntry) -> str:
    outcome = attempt["error"] or f"answered {attempt['status_code']}"
    return f"attempt {attempt['number']}: {outcome}"
