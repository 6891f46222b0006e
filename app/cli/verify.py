"""`cph-bridge verify`: checks the signature of a stored request."""

import json
from datetime import UTC, datetime
from pathlib import Path

import click
from standardwebhooks import Webhook, WebhookVerificationError

from app.domain.errors import OperatorError
from app.domain.signature import secret_bytes
from app.domain.times import rfc3339

REQUIRED = ("webhook-id", "webhook-timestamp", "webhook-signature")
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option("--secret", help="whsec_…")
@click.option("--secret-file", type=FILE, help="File with the secret; a command line is visible to other users.")
@click.option("--headers", "headers_file", type=FILE, required=True, help="`Name: value` lines, or a JSON object.")
@click.argument("body_file", metavar="BODY", type=FILE)
def verify(secret: str | None, secret_file: Path | None, headers_file: Path, body_file: Path) -> None:
    """Checks the signature of a stored request. BODY is a file with its body, byte for byte.

    Exits with 1 if the signature does not match. The age is not checked; receivers reject requests older than five
    minutes.
    """
    key = secret or (secret_file.read_text(encoding="utf-8-sig", errors="replace").strip() if secret_file else "")
    headers, body = _headers(headers_file), body_file.read_bytes()
    try:
        secret_bytes(key)
    except ValueError as error:
        raise OperatorError(f"the secret {error}; give it with --secret or --secret-file") from None
    missing = [name for name in REQUIRED if name not in headers]
    if missing:
        raise OperatorError(
            f"{headers_file}: lacks {', '.join(missing)}; store these headers unchanged: {', '.join(REQUIRED)}"
        )
    signed_at = _timestamp(headers["webhook-timestamp"], headers_file)
    if not _matches(key, headers, signed_at, body):
        raise click.ClickException(f"the signature does not match: {_diagnose(key, headers, signed_at, body)}")
    click.echo(f"the signature matches: {headers['webhook-id']}, signed at {rfc3339(signed_at)}")


def _headers(file: Path) -> dict[str, str]:
    text = file.read_text(encoding="utf-8-sig", errors="replace")
    if text.lstrip().startswith("{"):
        try:
            pairs = json.loads(text).items()
        except json.JSONDecodeError as error:
            raise OperatorError(f"{file}: not JSON: {error.msg} in line {error.lineno}") from None
        except RecursionError:
            raise OperatorError(f"{file}: not headers: the JSON is nested too deep") from None
    else:
        pairs = ((name, value) for name, colon, value in (line.partition(":") for line in text.splitlines()) if colon)
    return {name.strip().lower(): str(value).strip() for name, value in pairs}


def _timestamp(text: str, file: Path) -> datetime:
    try:
        return datetime.fromtimestamp(int(text), UTC)
    except (ValueError, OverflowError, OSError):
        raise OperatorError(f"{file}: webhook-timestamp is not a number of seconds") from None


def _matches(secret: str, headers: dict[str, str], signed_at: datetime, body: bytes) -> bool:
    """Verifies the signature as receivers do, except for the age."""
    try:
        expected = Webhook(secret).sign(headers["webhook-id"], signed_at, body.decode())
    except (UnicodeError, WebhookVerificationError):
        return False
    return expected in headers["webhook-signature"].split(" ")


def _diagnose(secret: str, headers: dict[str, str], signed_at: datetime, body: bytes) -> str:
    if "v1," not in headers["webhook-signature"]:
        return "webhook-signature has none made with a secret (v1,…)"
    if _matches(secret, headers, signed_at, body.rstrip(b"\r\n")):
        return "it matches the body without the line end after it; store the body byte for byte"
    try:
        compact = json.dumps(json.loads(body), separators=(",", ":"), ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return "the body is not JSON; store it byte for byte, before parsing it"
    if _matches(secret, headers, signed_at, compact):
        return "it matches the body reserialised as compact JSON; verify the bytes as received, before parsing them"
    return "it is another secret, another body, or the headers are from another request"
