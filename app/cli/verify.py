"""`cph-bridge verify`: was a stored request signed with this secret?"""

import json
from datetime import UTC, datetime
from pathlib import Path

import click
from standardwebhooks import Webhook, WebhookVerificationError

from app.domain.errors import OperatorError
from app.domain.signature import secret_bytes
from app.domain.times import rfc3339

NEEDED = ("webhook-id", "webhook-timestamp", "webhook-signature")
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option("--secret", help="whsec_…")
@click.option("--secret-file", type=FILE, help="A file that holds it: the command line of a process is no secret.")
@click.option("--headers", "headers_file", type=FILE, required=True, help="`Name: value` lines, or a JSON object.")
@click.argument("body_file", metavar="BODY", type=FILE)
def verify(secret: str | None, secret_file: Path | None, headers_file: Path, body_file: Path) -> None:
    """Says whether the signature of a request that was stored fits: BODY holds its body, byte for byte.

    Ends with 1 if it does not. How old it is does not matter here; a receiver refuses what is older than five minutes.
    """
    given = secret or (secret_file.read_text(encoding="utf-8", errors="replace").strip() if secret_file else "")
    headers, body = _headers(headers_file), body_file.read_bytes()
    try:
        secret_bytes(given)
    except ValueError as error:
        raise OperatorError(f"the secret {error}; give it with --secret or --secret-file") from None
    missing = [name for name in NEEDED if name not in headers]
    if missing:
        raise OperatorError(
            f"{headers_file}: lacks {', '.join(missing)}; store these as they came: {', '.join(NEEDED)}"
        )
    at = _moment(headers["webhook-timestamp"], headers_file)
    if not _fits(given, headers, at, body):
        raise click.ClickException(f"the signature does not fit: {_why(given, headers, at, body)}")
    click.echo(f"the signature fits: {headers['webhook-id']}, signed at {rfc3339(at)}")


def _headers(file: Path) -> dict[str, str]:
    text = file.read_text(encoding="utf-8", errors="replace")
    if text.lstrip().startswith("{"):
        try:
            pairs = json.loads(text).items()
        except json.JSONDecodeError as error:
            raise OperatorError(f"{file}: not JSON: {error.msg} in line {error.lineno}") from None
        except RecursionError:
            raise OperatorError(f"{file}: not headers: too deep") from None
    else:
        pairs = ((name, value) for name, colon, value in (line.partition(":") for line in text.splitlines()) if colon)
    return {name.strip().lower(): str(value).strip() for name, value in pairs}


def _moment(text: str, file: Path) -> datetime:
    try:
        return datetime.fromtimestamp(int(text), UTC)
    except (ValueError, OverflowError, OSError):
        raise OperatorError(f"{file}: webhook-timestamp is no number of seconds") from None


def _fits(secret: str, headers: dict[str, str], at: datetime, body: bytes) -> bool:
    """As receivers judge it, but for the age."""
    try:
        expected = Webhook(secret).sign(headers["webhook-id"], at, body.decode())
    except (UnicodeError, WebhookVerificationError):
        return False
    return expected in headers["webhook-signature"].split(" ")


def _why(secret: str, headers: dict[str, str], at: datetime, body: bytes) -> str:
    if "v1," not in headers["webhook-signature"]:
        return "there is none by a secret (v1,…) among them"
    if _fits(secret, headers, at, body.rstrip(b"\r\n")):
        return "but without the line end behind the body it does; store the body byte for byte"
    try:
        compact = json.dumps(json.loads(body), separators=(",", ":"), ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return "the body is not even JSON; store it byte for byte, before anything has parsed it"
    if _fits(secret, headers, at, compact):
        return "but written anew, compactly, the body does; verify the bytes as they came, before parsing them"
    return "another secret, another body, or the headers of another request"
