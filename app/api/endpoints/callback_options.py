"""Resolves a request's callback fields to URL, destination, format and secret."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from app.config.format_catalog import AUTO, FormatCatalog
from app.config.live_config import LiveConfig
from app.config.templates import PREFIX
from app.domain import callback_url
from app.domain.callback_url import CallbackUrl
from app.domain.destination import bot_at
from app.domain.errors import InvalidField
from app.domain.headers import check_headers
from app.domain.registration import Registration
from app.domain.signature import FRESH_SECRET_BYTES, new_secret, secret_bytes
from app.formats import registry, standard
from app.formats.format import Format

FORMAT_POINTER, SECRET_POINTER = "/format", "/secret"


@dataclass(frozen=True, slots=True)
class CallbackOptions:
    """Where and how a registration is notified. Without a callback, url, destination and secret are ''.

    secret: signs the callbacks; '' if nothing signs.
    """

    url: str = field(repr=False)
    destination: str
    secret: str = field(repr=False)
    format: Format


NO_CALLBACK = CallbackOptions("", "", "", standard.FORMAT)


def resolve(
    config: LiveConfig,
    tenant: str,
    *,
    url: str,
    format_name: str,
    secret: str | None,
    headers: Mapping[str, str],
) -> CallbackOptions:
    """Creates a secret if none is given and the format needs one. Raises InvalidField."""
    parsed = callback_url.parse(url, config.address_policy, tenant)
    check_headers(headers)
    form = _select_format(config.format_catalog, format_name, parsed)
    destination = parsed.origin if form.machine else bot_at(parsed.origin, form.name, form.bot(parsed))
    return CallbackOptions(parsed.raw, destination, _validate_secret(form, parsed, secret), form)


def replacement_secret(config: LiveConfig, registration: Registration, secret: str | None) -> str:
    """Returns a registration's new secret. Raises InvalidField if `secret` is unusable, or missing for a chat bot."""
    form = config.format_catalog.find(registration.format)
    if form is None or form.machine:
        return _signing_secret(secret)
    if secret is None:
        raise InvalidField(SECRET_POINTER, "is missing: the bot's service creates it", "send the bot's new secret")
    parsed = callback_url.parse(registration.callback_url, config.address_policy, registration.tenant)
    return _validate_secret(form, parsed, secret)


def _select_format(catalog: FormatCatalog, name: str, url: CallbackUrl) -> Format:
    found = registry.for_url(url) if name == AUTO else catalog.find(name)
    if found is None and name.startswith(PREFIX):
        hint = "the operator must add it to BRIDGE_TEMPLATES_DIR"
        raise InvalidField(FORMAT_POINTER, "there is no such template", hint)
    if found is None:
        raise InvalidField(FORMAT_POINTER, "there is no such format", f"one of: {', '.join(catalog.names)}")
    return found


def _validate_secret(form: Format, url: CallbackUrl, secret: str | None) -> str:
    form.check(url, secret)
    if secret and not (form.machine or form.signs):
        raise InvalidField(SECRET_POINTER, f"messages of {form.name} are not signed", "leave it out")
    return _signing_secret(secret) if form.machine else secret or ""


def _signing_secret(secret: str | None) -> str:
    if secret is None:
        return new_secret(secrets.token_bytes(FRESH_SECRET_BYTES))
    try:
        secret_bytes(secret)
    except ValueError as error:
        raise InvalidField(SECRET_POINTER, str(error)) from None
    return secret
