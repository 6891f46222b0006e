"""Escaping and layout in the Markdown that several services share."""

import re
from collections.abc import Callable

from app.formats.message import MessageLine
from app.formats.sanitize import ZERO_WIDTH_SPACE

# CommonMark renderers do not show the backslash before these.
MARKUP = re.compile(r"([\\`*_\[\]<>~|#&])|\A([-+=])|\A([0-9]{1,9})([.)])")


def escape(text: str) -> str:
    """Escapes bold, code, links, headings, lists and HTML."""
    return MARKUP.sub(lambda match: f"{match[3] or ''}\\{match[1] or match[2] or match[4]}", text)


def defuse_mentions(text: str) -> str:
    """Puts a zero-width space after `@` and `<`, so that `@all`, `<!channel>`, `<@U…>` and the like mention nobody."""
    return re.sub(r"([@<])", rf"\1{ZERO_WIDTH_SPACE}", text)


def link(url: str, escaped_text: str) -> str:
    """url: without brackets or spaces, as `links.filled` returns it."""
    return f"[{escaped_text}]({url})"


def format_line(line: MessageLine, escape: Callable[[str], str]) -> str:
    """Returns `❌ [phone p](https://…) · CPS.0003 · job-id`. escape: the service's."""
    name = link(line.link, escape(line.name)) if line.link else escape(line.name)
    return f"{line.emoji} {name}" + (f" · {escape(line.about)}" if line.about else "")
