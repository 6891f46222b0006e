"""Redirects: none is followed, and the attempt says where it leads to."""

import pytest

from app.transport.client import Reply
from app.webhooks import redirects

FROM = "https://bot.example/hooks/t0ken-of-the-bot?key=k3y-of-the-bot"


def described(status: int, location: str | None) -> str | None:
    headers = {} if location is None else {"location": location}
    return redirects.describe(Reply(status, headers, b"", truncated=False), FROM, ["S3CRET-of-a-header"])


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://u:p@new.example/a", "to https://new.example/a:"),
        ("//new.example:8443/a", "to https://new.example:8443/a:"),
        ("/b", "to https://bot.example/b:"),
        ("http://[2001:db8::1]:81/b", "to http://[2001:db8::1]:81/b:"),
        ("https://bot.example/hooks/t0ken-of-the-bot?key=k3y-of-the-bot", "to https://bot.example/hooks/…?…:"),
        ("https://bot.example/hooks/t0ken-of-the-bot/", "to https://bot.example/hooks/…/:"),
        ("https://bot.example/hooks/S3CRET-of-a-header", "to https://bot.example/hooks/…:"),
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
