"""Finds formats by name: the built-in ones and the operator's templates."""

from collections.abc import Mapping

from app.config.templates import PREFIX
from app.formats import registry
from app.formats.format import Format

AUTO = "auto"
# Share of a service's rate limit to use. Messages to a bot go out one at a time, so varying latency never puts too many
# into one window, for which services ban bots.
RATE_SHARE = 0.9


class FormatCatalog:
    """templates: the current templates, by name without prefix."""

    def __init__(self, templates: Mapping[str, Format]) -> None:
        self.templates = templates

    @property
    def names(self) -> tuple[str, ...]:
        """Names that callers may choose from."""
        return (AUTO, *registry.BY_NAME, *(PREFIX + name for name in self.templates))

    def find(self, name: str) -> Format | None:
        """Returns None for an unknown name and for `auto`."""
        if name.startswith(PREFIX):
            return self.templates.get(name.removeprefix(PREFIX))
        return registry.find(name)

    def rate(self, name: str) -> float | None:
        """Returns messages per second to one bot; None if its service states no limit."""
        found = self.find(name)
        if found is None or found.rate_limit is None:
            return None
        return RATE_SHARE * found.rate_limit.messages / found.rate_limit.window.total_seconds()
