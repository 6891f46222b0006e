"""Every format by its name: those built in, and the operator's templates."""

from collections.abc import Iterable, Mapping

from app.domain.callback_url import CallbackUrl
from app.domain.verdict import by_status
from app.formats import standard
from app.formats.format import Format, Judgement, Outgoing

FORMATS = (
    Format(
        "standard",
        render=lambda events, wishes, _: Outgoing(wishes.url, standard.render(events[0])),
        judge=lambda answer: Judgement(by_status(answer.status)),
        machine=True,
    ),
)
AUTO = "auto"
USUAL = "standard"
TEMPLATE = "template:"
# Messages are sent one at a time, this much apart: so never one too many arrives in a window, however long each takes
# to get there, and who is banned for that is not.
SLOWER = 0.9


class Catalogue:
    """templates: by name, as they are now."""

    def __init__(self, built_in: Iterable[Format], templates: Mapping[str, Format]) -> None:
        self._built_in = {each.name: each for each in built_in}
        self._templates = templates

    @property
    def names(self) -> tuple[str, ...]:
        """What callers may choose from."""
        return (AUTO, *self._built_in, *(TEMPLATE + name for name in self._templates))

    def find(self, name: str) -> Format | None:
        """None for a name that stands for none, `auto` among them."""
        if name.startswith(TEMPLATE):
            return self._templates.get(name.removeprefix(TEMPLATE))
        return self._built_in.get(name)

    def rate(self, name: str) -> float | None:
        """Messages a second to one bot, where its service says how many."""
        found = self.find(name)
        if found is None or found.pace is None:
            return None
        return SLOWER * found.pace.messages / found.pace.window.total_seconds()

    def told_by(self, url: CallbackUrl) -> Format:
        """What `auto` means."""
        known = (each for each in self._built_in.values() if each.known_by(url))
        return next(known, self._built_in[USUAL])
