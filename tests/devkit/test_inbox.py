"""The inbox over HTTP. The callbacks that it verifies are signed by the bridge's own code."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner

from app.devkit.inbox import main
from app.devkit.processes import wait_until
from app.domain.signature import by_secret
from app.domain.signature import headers as signature_headers

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_" + "A" * 32
BODY = '{"type":"job.succeeded","who":"Zoë"}'.encode()


def now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 the real clock


@pytest.fixture(scope="session")
def inbox(serve: Callable[..., Any]) -> Any:
    return serve("inbox", "--secret", OTHER_SECRET, "--secret", SECRET)


def call_back(inbox: Any, message_id: str, path: str = "/hooks/a", **changes: str) -> dict[str, Any]:
    """Sends a signed callback and returns the inbox's record of it."""
    headers = signature_headers([by_secret(SECRET)], message_id, now(), BODY) | changes
    inbox.call("POST", path, data=BODY, headers=headers)
    message: dict[str, Any] = inbox.call("GET", f"/_inbox/messages?id={message_id}").json()["messages"][-1]
    return message


def test_a_signed_callback_is_verified_and_kept_whole(inbox: Any) -> None:
    before = now() - timedelta(seconds=1)
    message = call_back(inbox, "evt_whole", "/hooks/a?b=c", **{"Bridge-Attempt": "3", "X-Mine": "yes"})
    assert message["verified"] is True
    assert (message["method"], message["path"]) == ("POST", "/hooks/a?b=c")
    assert (message["answered"], message["repeat"]) == (200, False)
    assert message["body"] == BODY.decode()
    assert (message["headers"]["bridge-attempt"], message["headers"]["x-mine"]) == ("3", "yes")
    assert "host" not in message["headers"]
    assert before < datetime.fromisoformat(message["received_at"]) < now() + timedelta(seconds=1)


def test_each_callback_is_printed_as_a_line(inbox: Any) -> None:
    message = call_back(inbox, "evt_printed", "/")
    printed = wait_until(lambda: [line for line in inbox.process.lines if "evt_printed" in line], what="its line")
    assert [json.loads(line) for line in printed] == [message]


def test_a_repeat_is_known_by_its_id(inbox: Any) -> None:
    assert [call_back(inbox, "evt_repeated")["repeat"] for _ in range(2)] == [False, True]


@pytest.mark.parametrize("signature", ["v1,AAAA", "v1", "nonsense", "v1,*"])
def test_a_wrong_signature_is_reported(inbox: Any, signature: str) -> None:
    assert call_back(inbox, "evt_forged", **{"webhook-signature": signature})["verified"] is False


def test_an_unsigned_callback_is_no_repeat_of_another(inbox: Any) -> None:
    for _ in range(2):
        inbox.call("POST", "/unsigned", data=b"\xff")
    messages = [m for m in inbox.call("GET", "/_inbox/messages").json()["messages"] if m["path"] == "/unsigned"]
    assert [(m["id"], m["repeat"], m["verified"], m["body"]) for m in messages] == [(None, False, False, "\ufffd")] * 2


def test_bad_answers_come_as_ordered_and_then_good_ones(inbox: Any) -> None:
    inbox.order("/_inbox/answers", {"status": 503, "times": 2, "headers": {"Retry-After": "7"}})
    inbox.order("/_inbox/answers", {"status": 410})
    answers = [inbox.call("POST", "/x", data=BODY) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [503, 503, 410, 200]
    assert answers[0].headers["Retry-After"] == "7"


def test_a_secret_may_come_later(serve: Callable[..., Any]) -> None:
    inbox = serve("inbox")
    assert call_back(inbox, "evt_1")["verified"] is None
    inbox.order("/_inbox/secrets", {"secret": SECRET})
    assert call_back(inbox, "evt_2")["verified"] is True


@pytest.mark.parametrize(
    ("path", "order"),
    [
        ("/_inbox/secrets", {"secret": "whsec_short"}),
        ("/_inbox/secrets", {}),
        ("/_inbox/answers", {"status": 99}),
        ("/_inbox/answers", {"status": 500, "time": 2}),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(inbox: Any, path: str, order: dict[str, Any]) -> None:
    assert inbox.call("POST", path, json=order).status_code == 422


def test_a_wrong_secret_on_the_command_line_is_named() -> None:
    ended = CliRunner().invoke(main, ["--secret", "whsec_short"])
    assert ended.exit_code == 2
    assert "Invalid value for '--secret'" in ended.output


def test_what_has_been_seen_may_be_left_out(serve: Callable[..., Any]) -> None:
    inbox = serve("inbox")
    for body in ("one", "two"):
        inbox.call("POST", "/", data=body)
    shown = [inbox.call("GET", f"/_inbox/messages?after={seen}").json()["messages"] for seen in range(3)]
    assert [[message["body"] for message in each] for each in shown] == [["one", "two"], ["two"], []]
