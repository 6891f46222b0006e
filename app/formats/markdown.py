"""Markdown, as far as several services agree: what has a meaning there loses it."""

import re
from collections.abc import Callable

from app.formats.message import MessageLine
from app.formats.sanitize import NOTHING

# Backslashes take it away wherever CommonMark is spoken; they are not shown.
MARKUP = re.compile(r"([\\`*_\[\]<>~|#&])|\A([-+=])|\A([0-9]{1,9})([.)])")


def escaped(text: str) -> str:
    """Nothing in it is bold, code, a link, a heading, a list or HTML."""
    return MARKUP.sub(lambda sign: f"{sign[3] or ''}\\{sign[1] or sign[2] or sign[4]}", text)


def defuse_mentions(text: str) -> str:
    """`@all`, `<!channel>`, `<@U…>` and the like call nobody: behind their first sign stands one without a width."""
    return re.sub(r"([@<])", rf"\1{NOTHING}", text)


def link(url: str, escaped_text: str) -> str:
    """url: without brackets or blanks, as links.filled gives them."""
    return f"[{escaped_text}]({url})"


def one_of_several(line: MessageLine, harmless: Callable[[str], str]) -> str:
    """`❌ [phone p](https://…) · CPS.0003 · job-id`. harmless: as this service needs it."""
    name = link(line.link, harmless(line.name)) if line.link else harmless(line.name)
    return f"{line.sign} {name}" + (f" · {harmless(line.about)}" if line.about else "")
