"""Excerpts of answers, without the secrets that we have sent."""

import html
import json
from urllib.parse import quote

import pytest

from app.webhooks.excerpt import LENGTH, excerpt

TOKEN = "Bearer k3y-of/the+bot,twice=="


def test_an_answer_is_shown_on_one_line_and_cut() -> None:
    assert excerpt(b"not\r\nfound\x00", secrets=()) == "not  found"
    assert excerpt(b"x" * 1_000, secrets=()) == "x" * LENGTH
    assert excerpt(b" \n", secrets=()) is None
    assert excerpt(b"\xff", secrets=()) == "\ufffd"


@pytest.mark.parametrize("quoted", [str, json.dumps, html.escape, quote, lambda text: quote(text, safe="")])
def test_a_secret_is_redacted_however_it_is_quoted(quoted) -> None:
    secret = 'Digest username="operator-of-it", nonce="a1b2c3d4/e5f6a7b8"'
    shown = excerpt(f"refused: {quoted(secret)}".encode(), secrets=(secret,))
    assert shown
    assert shown.startswith("refused: ")
    for part in ("operator-of-it", "a1b2c3d4", "e5f6a7b8"):
        assert part not in shown


def test_a_secret_that_the_cut_would_leave_half_is_not_shown() -> None:
    shown = excerpt(b"x" * (LENGTH - 9) + TOKEN.encode(), secrets=(TOKEN,))
    assert shown == "x" * (LENGTH - 9) + "…"


def test_a_part_of_a_secret_is_not_shown_either() -> None:
    assert excerpt(b"no hook /hooks/s3cret-path here", secrets=("/hooks/s3cret-path?key=k",)) == "no hook /hooks/… here"


def test_what_is_too_short_to_be_a_secret_stays() -> None:
    assert excerpt(b"1 of 1 rooms", secrets=("1", "ops")) == "1 of 1 rooms"
    assert excerpt(b"wrong key k3y!", secrets=("k3y!",)) == "wrong key …"
