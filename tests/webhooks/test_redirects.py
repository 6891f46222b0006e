"""Redirects: none is followed, and the attempt says where it leads to."""

from datetime import timedelta

import pytest

from app.domain.verdict import Verdict
from app.transport.client import Reply
from app.webhooks import redirects
from tests.webhooks.test_sender import answer, post, sender  # noqa: F401 - a fixture

FROM = "https://bot.example/hooks/t0ken-of-the-bot?key=k3y-of-the-bot"


def described(status: int, location: str | None) -> str | None:
    headers = {} if location is None else {"location": location}
    return redirects.describe(Reply(status, headers, b"", truncated=False), FROM)


@pytest.mark.parametrize("status", [301, 308])
def test_who_has_moved_is_to_be_registered_there(sender, make_subscriber, status):  # noqa: F811
    attempt = post(sender, make_subscriber(answer(status, b"Location: https://new.example/v2/in?t=s3cret#x\r\n")).url)
    assert (attempt.verdict, attempt.status_code) == (Verdict.REFUSED, status)
    assert attempt.service_message == (
        f"moved permanently ({status}) to https://new.example/v2/in?…: register that URL"
    )


@pytest.mark.parametrize("status", [302, 303, 307])
def test_a_redirect_for_now_is_shown_and_nobody_is_to_register_it(sender, make_subscriber, status):  # noqa: F811
    attempt = post(sender, make_subscriber(answer(status, b"Location: /login\r\n")).url)
    assert "/login, which is not followed" in attempt.service_message
    assert f"a redirect ({status}) to http://127.0.0.1:" in attempt.service_message
    assert "register that" not in attempt.service_message


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://u:p@new.example/a", "to https://new.example/a:"),
        ("//new.example:8443/a", "to https://new.example:8443/a:"),
        ("/b", "to https://bot.example/b:"),
        ("http://[2001:db8::1]:81/b", "to http://[2001:db8::1]:81/b:"),
        ("https://bot.example/hooks/t0ken-of-the-bot?key=k3y-of-the-bot", "to https://bot.example/hooks/…?…:"),
        ("https://new.example/" + "x" * 900, "x…: register that URL"),
        (None, "to nowhere"),
        ("", "to nowhere"),
        ("mailto:a@b", "to nowhere"),
        ("https://[", "to nowhere"),
        ("https://new.example:99999/", "to nowhere"),
    ],
)
def test_a_location_is_shown_without_what_is_secret(location, shown):
    text = described(301, location)
    assert text is not None
    assert shown in text
    assert "t0ken" not in text
    assert len(text) <= 256


@pytest.mark.parametrize("status", [200, 300, 304, 404])
def test_other_answers_are_no_redirects(status):
    assert described(status, "https://new.example/") is None


@pytest.mark.parametrize("deadline", [timedelta(seconds=5)])
def test_a_secret_of_the_path_is_masked_in_the_attempt_too(sender, make_subscriber, deadline):  # noqa: F811
    subscriber = make_subscriber(answer(308, b"Location: https://127.0.0.1/hooks/s3cret\r\n"))
    assert "https://127.0.0.1" in post(sender, subscriber.url, deadline).service_message
