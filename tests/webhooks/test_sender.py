"""`Sender`: one attempt against real servers."""

import socket
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest

from app.domain.address import AddressPolicy
from app.domain.verdict import Verdict
from app.webhooks.sender import Sender

NOW = datetime(2019, 4, 26, 7, 0, 0, tzinfo=UTC)
LOOPBACK = AddressPolicy(False, frozenset({443}), (ip_network("127.0.0.0/8"),))


NAMES = {"bot.example": "127.0.0.1", "inward.example": "10.0.0.5"}


def resolve(name, port, call):
    return [(socket.AF_INET, (NAMES.get(name, name), port))]


@pytest.fixture
def sender() -> Iterator[Sender]:
    sender = Sender(
        policy=lambda: LOOPBACK,
        deadline=timedelta(seconds=8),
        user_agent="cph-webhook-bridge/0.1.0",
        clock=lambda: NOW,
        resolve=resolve,
    )
    with closing(sender):
        yield sender


def post(sender, url, deadline=None, headers=None):
    headers = {"Content-Type": "application/json", **(headers or {})}
    attempt = sender.post(url, tenant="t", headers=headers, body=b"{}", deadline=deadline)
    assert "s3cret" not in str(attempt)
    assert timedelta() < attempt.timings.total < timedelta(seconds=8)
    return attempt


def answer(status, headers=b"", body=b""):
    return b"HTTP/1.1 %d X\r\n%sContent-Length: %d\r\n\r\n%s" % (status, headers, len(body), body)


def test_an_attempt_that_is_answered_with_2xx_is_delivered(sender, make_subscriber):
    subscriber = make_subscriber(answer(200, body=b"thanks"))
    attempt = post(sender, subscriber.url)
    assert (attempt.verdict, attempt.status_code, attempt.error) == (Verdict.DELIVERED, 200, None)
    assert (attempt.response_excerpt, attempt.retry_after) == ("thanks", None)
    timings = attempt.timings
    assert timings.lookup + timings.connect + timings.first_byte <= timings.total
    head, body = subscriber.requests[0].split(b"\r\n\r\n")
    assert head.startswith(b"POST /hooks/s3cret HTTP/1.1\r\n")
    assert b"\r\nUser-Agent: cph-webhook-bridge/0.1.0\r\n" in head
    assert b"\r\nContent-Type: application/json\r\n" in head
    assert body == b"{}"


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(302, Verdict.REFUSED), (404, Verdict.REFUSED), (410, Verdict.GONE), (429, Verdict.RETRY), (503, Verdict.RETRY)],
)
def test_a_status_has_its_verdict(sender, make_subscriber, status, verdict):
    attempt = post(sender, make_subscriber(answer(status)).url)
    assert (attempt.verdict, attempt.status_code) == (verdict, status)


@pytest.mark.parametrize("status", [301, 308])
def test_who_has_moved_is_to_be_registered_there(sender, make_subscriber, status):
    attempt = post(sender, make_subscriber(answer(status, b"Location: https://new.example/v2/in?t=s3cret#x\r\n")).url)
    assert (attempt.verdict, attempt.status_code) == (Verdict.REFUSED, status)
    assert attempt.service_message == (
        f"moved permanently ({status}) to https://new.example/v2/in?…: register that URL"
    )


@pytest.mark.parametrize("status", [302, 303, 307])
def test_a_redirect_for_now_is_shown_and_nobody_is_to_register_it(sender, make_subscriber, status):
    attempt = post(sender, make_subscriber(answer(status, b"Location: /login\r\n")).url)
    assert "/login, which is not followed" in attempt.service_message
    assert f"a redirect ({status}) to http://127.0.0.1:" in attempt.service_message
    assert "register that" not in attempt.service_message


def test_a_secret_of_the_path_is_masked_in_the_attempt_too(sender, make_subscriber):
    subscriber = make_subscriber(answer(308, b"Location: https://127.0.0.1/hooks/s3cret\r\n"))
    assert "https://127.0.0.1" in post(sender, subscriber.url).service_message


def test_a_server_that_asks_for_a_pause_is_heard(sender, make_subscriber):
    attempt = post(sender, make_subscriber(answer(429, b"Retry-After: Fri, 26 Apr 2019 07:00:30 GMT\r\n")).url)
    assert attempt.retry_after == timedelta(seconds=30)


def test_a_bug_in_reading_the_answer_is_a_failure_that_may_have_arrived(sender, make_subscriber, caplog):
    def judge(_answer):
        raise ZeroDivisionError("s3cret of the answer")

    attempt = sender.post(make_subscriber(answer(200)).url, tenant="t", headers={}, body=b"{}", judge=judge)
    assert (attempt.verdict, attempt.status_code, attempt.maybe_delivered) == (Verdict.RETRY, 200, True)
    assert "could not read the answer" in attempt.error
    (record,) = caplog.records
    assert (record.getMessage(), record.fields["error"]) == ("answer.unreadable", "ZeroDivisionError")
    assert record.fields["at"].endswith(" judge")
    assert "s3cret" not in str(record.fields)


def test_an_excerpt_is_short_and_printable(sender, make_subscriber):
    attempt = post(sender, make_subscriber(answer(500, body="\x1b[31mé\n\xff".encode("latin-1") + b"x" * 5000)).url)
    assert attempt.response_excerpt is not None
    assert attempt.response_excerpt.isprintable()
    assert attempt.response_excerpt.startswith("[31m")
    assert len(attempt.response_excerpt) <= 256


@pytest.mark.parametrize("quote", ["{url}", "{tail}", "{token}", "room {room}", "auth {auth}", "key {key}"])
def test_an_excerpt_does_not_quote_what_is_secret(sender, make_subscriber, quote):
    token, key = "a-token-of-a-chat", "k3y-of-the-callers"
    room, auth = "s3cret-room", f"Bearer {key}"
    tail = f"/hooks/{token}?room={room}&n=4711"
    body = quote.format(url=f"https://bot.example{tail}", tail=tail, token=token, room=room, auth=auth, key=key)
    subscriber = make_subscriber(answer(404, body=f"no such hook: {body} ".encode() * 9))
    url = subscriber.url.replace("/hooks/s3cret", tail)
    excerpt = post(sender, url, headers={"Authorization": auth}).response_excerpt
    assert excerpt.startswith("no such hook: ")
    assert "…" in excerpt
    assert not any(secret in excerpt for secret in (token, room, key, "4711"))


def test_a_server_that_never_answers_is_tried_again(sender, make_subscriber):
    attempt = post(sender, make_subscriber(b"", hangs=True).url, timedelta(seconds=0.3))
    assert (attempt.verdict, attempt.status_code, attempt.error) == (Verdict.RETRY, None, "timed out after 0.3 s")


def test_a_2xx_counts_even_if_its_body_never_ends(sender, make_subscriber):
    subscriber = make_subscriber(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nthanks", hangs=True)
    attempt = post(sender, subscriber.url, timedelta(seconds=0.3))
    assert (attempt.verdict, attempt.response_excerpt) == (Verdict.DELIVERED, "thanks")


def test_a_server_that_is_down_is_tried_again(sender):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    attempt = post(sender, f"http://127.0.0.1:{port}/hooks/s3cret")
    assert (attempt.verdict, attempt.error) == (Verdict.RETRY, "connection refused")


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("https://169.254.169.254/s3cret", "not allowed here: address_metadata"),
        ("https://bot.example\\@127.0.0.1/s3cret", "not a URL"),
    ],
)
def test_a_url_is_checked_again_at_each_attempt(sender, url, error):
    attempt = post(sender, url)
    assert (attempt.verdict, attempt.status_code, attempt.error) == (Verdict.REFUSED, None, error)


def test_a_name_is_judged_by_its_address_and_the_address_not_reported(sender, make_subscriber):
    assert post(sender, f"http://bot.example:{make_subscriber(answer(204)).port}/s3cret").verdict is Verdict.DELIVERED
    attempt = post(sender, "https://inward.example/s3cret")
    assert (attempt.verdict, attempt.error) == (Verdict.REFUSED, "address_private")
    assert "10.0.0.5" not in str(attempt)
