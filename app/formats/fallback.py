"""The simplest form of a message: a few lines of text without links and markup."""

from collections.abc import Callable, Sequence

from app.domain.event import Event
from app.formats.fit import Body, fit, within
from app.formats.format import MessageOptions
from app.formats.markdown import defuse_mentions
from app.formats.message import Message, SpaceBudget

MAX_BYTES = 1_500  # WeCom takes 2,048 bytes of plain text, Discord 2,000 characters
BUDGETS = (
    SpaceBudget(metadata=0, text=120, jobs=8, links=False),
    SpaceBudget(metadata=0, text=40, jobs=3, links=False),
    SpaceBudget(metadata=0, text=0, jobs=0, links=False),
)


def fit_text(
    events: Sequence[Event],
    options: MessageOptions,
    build: Callable[[str], Body],
    escape: Callable[[str], str] = defuse_mentions,
) -> bytes:
    """escape: keeps others' text from mentioning anybody, and from being markup where the service finds some."""
    return fit(events, options, lambda message: build(escape(_text(message))), within(MAX_BYTES), BUDGETS)


def _text(message: Message) -> str:
    facts = (f"{fact.label}: {fact.value}" for fact in message.facts)
    lines = (" · ".join(filter(None, (f"{line.emoji} {line.name}", line.about))) for line in message.lines)
    return "\n".join(filter(None, (message.title, message.why, *facts, *lines, message.more)))
