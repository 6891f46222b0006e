"""Every format by its name: those built in, and the operator's templates."""

from collections.abc import Mapping

from app.config.templates import PREFIX
from app.formats import registry
from app.formats.format import Format

AUTO = "auto"
# Messages are sent one at a time, this much apart: so never one too many arrives in a window, however long each takes
# to get there, and who is banned for that is not.
SLOWER = 0.9


class FormatCatalog:
    """templates: by name, as they are now."""

    def __init__(self, templates: Mapping[str, Format]) -> None:
        self.templates = templates

    @property
    def names(self) -> tuple[str, ...]:
        """What callers may choose from."""
        return (AUTO, *registry.BY_NAME, *(PREFIX + name for name in self.templates))

    def find(self, name: str) -> Format | None:
        """None for a name that stands for none, `auto` among them."""
        if name.startswith(PREFIX):
            return self.templates.get(name.removeprefix(PREFIX))
        return registry.find(name)

    def rate(self, name: str) -> float | None:
        """Messages a second to one bot, where its service says how many."""
        found = self.find(name)
        if found is None or found.pace is None:
            return None
        return SLOWER * found.pace.messages / found.pace.window.total_seconds()
