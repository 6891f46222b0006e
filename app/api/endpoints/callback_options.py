"""How callers want their callbacks to look: from what they said to a format, or the field that is wrong."""

import secrets
from dataclasses import dataclass, field

from app.config.format_catalog import AUTO, Catalogue
from app.config.templates import PREFIX
from app.domain.callback_url import CallbackUrl
from app.domain.destination import bot_at
from app.domain.errors import InvalidField
from app.domain.signature import FRESH_SECRET_BYTES, new_secret, secret_bytes
from app.formats import registry, standard
from app.formats.format import Format

POINTER, SECRET = "/format", "/secret"


@dataclass(frozen=True, slots=True)
class Callback:
    """Where a registration is told, and how: all '' but the format if nobody is called."""

    url: str = field(repr=False)
    destination: str
    secret: str = field(repr=False)
    format: str


PULLED = Callback("", "", "", standard.FORMAT.name)


def chosen(catalogue: Catalogue, name: str, url: CallbackUrl) -> Format:
    """InvalidField for a name that stands for none."""
    found = registry.for_url(url) if name == AUTO else catalogue.find(name)
    if found is None and name.startswith(PREFIX):
        raise InvalidField(POINTER, "there is no such template", "the operator puts it into BRIDGE_TEMPLATES_DIR")
    if found is None:
        raise InvalidField(POINTER, "there is no such format", f"one of: {', '.join(catalogue.names)}")
    return found


def destination(form: Format, url: CallbackUrl) -> str:
    return url.origin if form.machine else bot_at(url.origin, form.name, form.bot(url))


def checked_secret(form: Format, url: CallbackUrl, given: str | None) -> str:
    """What signs: made where it must be and none is given; '' where nothing does. InvalidField if it cannot work."""
    form.check(url, given)
    if given and not (form.machine or form.signs):
        raise InvalidField(SECRET, f"nothing signs messages of {form.name}", "leave it out")
    return machine_secret(given) if form.machine else given or ""


def machine_secret(given: str | None) -> str:
    if given is None:
        return new_secret(secrets.token_bytes(FRESH_SECRET_BYTES))
    try:
        secret_bytes(given)
    except ValueError as error:
        raise InvalidField(SECRET, str(error)) from None
    return given
