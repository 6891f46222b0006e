"""`python -m app.devkit.inbox`: receives callbacks, verifies their signatures, prints and stores them."""

from datetime import UTC, datetime
from threading import Lock
from typing import Any

import click
from flask import Flask, Response, request
from pydantic import BaseModel, ConfigDict, Field, field_validator
from standardwebhooks import Webhook, WebhookVerificationError

from app.devkit.serving import Address, bind_option, json_answer, new_app, print_line, serve
from app.domain.signature import secret_bytes

TRANSPORT_HEADERS = {"host", "connection", "content-length", "accept", "accept-encoding"}


class AddedSecret(BaseModel):
    model_config = ConfigDict(extra="forbid")

    secret: str

    @field_validator("secret")
    @classmethod
    def _check(cls, secret: str) -> str:
        secret_bytes(secret)
        return secret


class ScriptedAnswers(BaseModel):
    """The answer to the next `times` callbacks; after them it is 200 again."""

    model_config = ConfigDict(extra="forbid")

    status: int = Field(ge=200, le=599)
    times: int = Field(default=1, ge=1)
    headers: dict[str, str] = {}


class Inbox:
    def __init__(self, secrets: tuple[str, ...] = ()) -> None:
        self._lock = Lock()
        self._verifiers = [Webhook(secret) for secret in secrets]
        self._answers: list[ScriptedAnswers] = []
        self._messages: list[dict[str, Any]] = []
        self._seen_ids: set[str | None] = set()

    def app(self) -> Flask:
        app = new_app()
        app.add_url_rule("/_inbox/messages", view_func=self.show_messages)
        app.add_url_rule("/_inbox/secrets", view_func=self.add_secret, methods=["POST"])
        app.add_url_rule("/_inbox/answers", view_func=self.add_answers, methods=["POST"])
        app.add_url_rule("/", "root", view_func=self.receive, methods=["POST"])
        app.add_url_rule("/<path:_>", "any", view_func=self.receive, methods=["POST"])
        return app

    def receive(self, _: str = "") -> Response:
        with self._lock:
            answer = self._next_answer()
            message = self._message(answer.status)
            self._messages.append(message)
            self._seen_ids.add(message["id"])
            print_line(message)
        return Response("ok", answer.status, answer.headers, mimetype="text/plain")

    def show_messages(self) -> Response:
        """Returns all messages. Query: `id` selects one id; `after` skips that many messages."""
        wanted, skipped = request.args.get("id"), request.args.get("after", 0, type=int)
        with self._lock:
            messages = [message for message in self._messages[skipped:] if wanted in (None, message["id"])]
        return json_answer({"messages": messages})

    def add_secret(self) -> Response:
        given = AddedSecret.model_validate_json(request.get_data())
        with self._lock:
            self._verifiers.append(Webhook(given.secret))
        return json_answer({})

    def add_answers(self) -> Response:
        given = ScriptedAnswers.model_validate_json(request.get_data())
        with self._lock:
            self._answers += [given] * given.times
        return json_answer({})

    def _next_answer(self) -> ScriptedAnswers:
        return self._answers.pop(0) if self._answers else ScriptedAnswers(status=200)

    def _message(self, answered: int) -> dict[str, Any]:
        headers = {name.lower(): value for name, value in request.headers if name.lower() not in TRANSPORT_HEADERS}
        message_id = headers.get("webhook-id")
        return {
            "id": message_id,
            "repeat": message_id is not None and message_id in self._seen_ids,
            "verified": self._verified(headers, request.get_data()),
            "answered": answered,
            "received_at": _now(),
            "method": request.method,
            "path": request.full_path.removesuffix("?"),
            "headers": headers,
            "body": request.get_data().decode(errors="replace"),
        }

    def _verified(self, headers: dict[str, str], body: bytes) -> bool | None:
        """Returns None if there is no secret, else whether one of them verifies the signature."""
        if not self._verifiers:
            return None
        return any(_verifies(verifier, headers, body) for verifier in self._verifiers)


def _verifies(verifier: Webhook, headers: dict[str, str], body: bytes) -> bool:
    try:
        verifier.verify(body, headers, json_parse=False)
    except (WebhookVerificationError, ValueError):
        return False
    return True


def _now() -> str:
    """Uses the workers' log clock, because `./dev demo` sorts callbacks and log lines by time."""
    now = datetime.now(UTC)  # noqa: TID251 a receiver uses its machine's clock
    return now.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _check_secrets(_context: click.Context, _option: click.Parameter, secrets: tuple[str, ...]) -> tuple[str, ...]:
    for secret in secrets:
        try:
            secret_bytes(secret)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error
    return secrets


@click.command()
@bind_option
@click.option(
    "--secret", "secrets", multiple=True, callback=_check_secrets, help="whsec_…; may be given more than once."
)
def main(bind: Address, secrets: tuple[str, ...]) -> None:
    """Receives, verifies and prints callbacks."""
    serve(Inbox(secrets).app(), bind, {})


if __name__ == "__main__":
    main()
