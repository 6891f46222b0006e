"""What happens to jobs and callbacks, as the workers log it and the inbox receives it; one line each."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from app.devkit.bridge import StubProcess
from app.devkit.log_tail import LogTail, words

RECEIVED = "callback.received"
WORTH_TELLING = ("warning", "error", "critical")

Happening = dict[str, Any]


class TimelineLine(NamedTuple):
    """What happened, to what, and how."""

    word: str
    subject: str
    detail: str


class Timeline:
    def __init__(self, logs: Path, inbox: StubProcess) -> None:
        self._deliver = LogTail(logs / "worker-deliver.log")
        self._inbox = inbox
        self._received = 0
        self._poll = LogTail(logs / "worker-poll.log")

    def new(self) -> list[Happening]:
        """Since the last call, by their time."""
        # Read an effect before its cause, so that what is shown never lacks the cause; show it after, if both have the
        # same millisecond.
        delivered = self._deliver.new()
        received = self._callbacks() if delivered or len(self._inbox.said()) > self._received else []
        polled = self._poll.new()
        return sorted((one for one in (*polled, *received, *delivered) if "time" in one), key=_moment)

    def _callbacks(self) -> list[Happening]:
        """The inbox is asked, as a line that it has printed may still be on its way when the worker has its answer."""
        messages = self._inbox.client.call("GET", f"/_inbox/messages?after={self._received}")["messages"]
        self._received += len(messages)
        return [{**message, "time": message["received_at"], "event": RECEIVED} for message in messages]


def told(happening: Happening, names: Mapping[str, str]) -> TimelineLine | None:
    """None for what is not worth a line. names: of jobs and registrations, instead of their ids."""

    def name(id: str) -> str:
        return names.get(id, id)

    match happening["event"]:
        case "job.ended":
            return TimelineLine("ended", name(happening["job_id"]), happening["state"])
        case "job.lost":
            return TimelineLine("ended", name(happening["job_id"]), "lost: CPH does not know it")
        case "callback.received":
            subject, event_type = _subject_and_type(happening)
            return TimelineLine("received", name(subject), f"{event_type}, {_signature(happening)}")
        case "delivery.attempted":
            word = "delivered" if happening["state"] == "delivered" else "attempted"
            return TimelineLine(word, name(happening["registration_id"] or "to the operator"), _attempted(happening))
        case _ if happening.get("level") in WORTH_TELLING:
            return TimelineLine("warning", "", words(happening))
    return None


def _moment(happening: Happening) -> datetime:
    return datetime.fromisoformat(happening["time"])


def _subject_and_type(callback: Happening) -> tuple[str, str]:
    """The job's id, the registration's, or the destination. What is no callback of ours, as anybody may post it, goes
    by its path."""
    try:
        body = json.loads(callback["body"])
        data = body["data"]
        subject = data.get("job", {}).get("job_id") or data.get("destination") or data["registration_id"]
        return str(subject or "a test"), str(body["type"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return callback["path"], "no event"


def _signature(callback: Happening) -> str:
    return "signature verified" if callback["verified"] else "signature NOT verified: by another secret, or none"


def _attempted(attempt: Happening) -> str:
    outcome = attempt["error"] or f"answered {attempt['status_code']}"
    return f"attempt {attempt['number']}: {outcome}"
