"""The headers that a subscriber wants on its callbacks."""

import http.client

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import InvalidField
from app.domain.headers import LONGEST, MOST, check_headers


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer k3y=="},
        {"X-Room": "ops, of the bridge", "x_empty": "", "X-Tab": "a\tb"},
        {f"X-{number}": "y" * LONGEST for number in range(MOST)},
    ],
)
def test_headers_of_the_subscribers_own_are_accepted(headers):
    check_headers(headers)


@pytest.mark.parametrize(
    ("headers", "pointer", "words"),
    [
        ({f"X-{number}": "y" for number in range(MOST + 1)}, "/headers", "more than 20"),
        ({"X Room": "y"}, "/headers", "a name is no header's"),
        ({"": "y"}, "/headers", "a name is no header's"),
        ({"X-Room\r\nX": "y"}, "/headers", "a name is no header's"),
        ({"X-Rööm": "y"}, "/headers", "a name is no header's"),
        ({"Host": "y"}, "/headers/Host", "is the bridge's own"),
        ({"content-LENGTH": "0"}, "/headers/content-LENGTH", "is the bridge's own"),
        ({"Transfer-Encoding": "chunked"}, "/headers/Transfer-Encoding", "is the bridge's own"),
        ({"Webhook-Signature": "v1,x"}, "/headers/Webhook-Signature", "is the bridge's own"),
        ({"X-Forwarded-For": "10.0.0.1"}, "/headers/X-Forwarded-For", "is the bridge's own"),
        ({"X-Room": "a", "x-room": "b"}, "/headers/x-room", "is there twice"),
        ({"X~Room": "a\r\nHost: b"}, "/headers/X~0Room", "must be printable ASCII"),
        ({"X-Room": "a\0b"}, "/headers/X-Room", "must be printable ASCII"),
        ({"X-Room": "é"}, "/headers/X-Room", "must be printable ASCII"),
        ({"X-Room": " a"}, "/headers/X-Room", "must be printable ASCII"),
        ({"X-Room": "a\n"}, "/headers/X-Room", "must be printable ASCII"),
        ({"X-Room": "y" * (LONGEST + 1)}, "/headers/X-Room", "must be printable ASCII"),
    ],
)
def test_what_is_wrong_is_named_without_its_value(headers, pointer, words):
    with pytest.raises(InvalidField) as caught:
        check_headers(headers)
    assert caught.value.pointer == pointer
    assert caught.value.detail.startswith(words)


@given(st.text(), st.text())
def test_what_is_accepted_the_http_client_sends_as_one_line(name, value):
    try:
        check_headers({name: value})
    except InvalidField:
        return
    connection = http.client.HTTPConnection("bot.example")
    connection.putrequest("POST", "/")
    before = len(connection._buffer)
    connection.putheader(name, value)
    assert connection._buffer[before:] == [f"{name}: {value}".encode("ascii")]
