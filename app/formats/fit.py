"""Messages that fit: less and less is said, until the service takes it. The JSON itself is never cut."""

from collections.abc import Callable, Sequence
from typing import Any

from app.domain.event import Event
from app.domain.wire import to_json
from app.formats.format import MessageOptions
from app.formats.message import Message, SpaceBudget, message

Body = dict[str, Any]
Fits = Callable[[Body, bytes], bool]

# Metadata goes first, which the receiver knows; then long texts are shortened, then lists of jobs.
ROOMS = (
    SpaceBudget(metadata=10, text=600, jobs=30),
    SpaceBudget(metadata=4, text=600, jobs=30),
    SpaceBudget(metadata=0, text=600, jobs=30),
    SpaceBudget(metadata=0, text=300, jobs=30),
    SpaceBudget(metadata=0, text=120, jobs=30),
    SpaceBudget(metadata=0, text=40, jobs=30),
    SpaceBudget(metadata=0, text=40, jobs=30, links=False),
    SpaceBudget(metadata=0, text=40, jobs=15, links=False),
    SpaceBudget(metadata=0, text=40, jobs=8, links=False),
    SpaceBudget(metadata=0, text=40, jobs=3, links=False),
    SpaceBudget(metadata=0, text=0, jobs=0, links=False),
)


def fit(events: Sequence[Event], wishes: MessageOptions, build: Callable[[Message], Body], fits: Fits) -> bytes:
    """The fullest message that fits; tests show for every format that the last always does."""
    for room in ROOMS:
        body = build(message(events, wishes, room))
        written = to_json(body).encode()
        if fits(body, written):
            break
    return written


def within(most: int) -> Fits:
    """most: bytes."""
    return lambda _, written: len(written) <= most
