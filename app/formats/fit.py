"""Fits messages to a service's size limit by reducing their content. The JSON itself is never cut."""

from collections.abc import Callable, Sequence
from typing import Any

from app.domain.event import Event
from app.domain.wire import to_json
from app.formats.format import MessageOptions
from app.formats.message import Message, SpaceBudget, message

Body = dict[str, Any]
Fits = Callable[[Body, bytes], bool]

# Metadata goes first, because the receiver knows it; then long texts are shortened, then lists of jobs.
BUDGETS = (
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


def fit(
    events: Sequence[Event],
    options: MessageOptions,
    build: Callable[[Message], Body],
    fits: Fits,
    budgets: Sequence[SpaceBudget] = BUDGETS,
) -> bytes:
    """Returns the fullest message that fits. The last budget always does: tests prove it for every format."""
    for space in budgets:
        body = build(message(events, options, space))
        encoded = to_json(body).encode()
        if fits(body, encoded):
            break
    return encoded


def within(max_bytes: int) -> Fits:
    return lambda _, encoded: len(encoded) <= max_bytes
