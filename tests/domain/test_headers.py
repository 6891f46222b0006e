"""Headers that subscribers add to their callbacks."""

import http.client

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import InvalidField
from app.domain.headers import MAX_HEADERS, MAX_VALUE_LENGTH, check_headers


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer k3y=="},
        {"X-Room": "ops, of the bridge", "x_empty": "", "X-Tab": "a\tb"},
        {f"X-{number}": "y" * MAX_VALUE_LENGTH for number in range(MAX_HEADERS)},
    ],
)
def test_headers_of_the_subscribers_own_are_accepted(headers):
    check_headers(headers)


@pytest.mark.parametrize(
    ("headers", "pointer", "detail"),
    [
        ({f"X-{number}": "y" for number in range(MAX_HEADERS + 1)}, "/headers", "more than 20"),
        ({"X Room": "y"}, "/headers", "has an invalid header name"),
        ({"": "y"}, "/headers", "has an invalid header name"),
        ({"X-Room\r\nX": "y"}, "/headers", "has an invalid header name"),
        ({"X-Rööm": "y"}, "/headers", "has an invalid header name"),
        ({"Host": "y"}, "/headers/Host", "is set by the bridge"),
        ({"content-LENGTH": "0"}, "/headers/content-LENGTH", "is set by the bridge"),
        ({"Transfer-Encoding": "chunked"}, "/headers/Transfer-Encoding", "is set by the bridge"),
        ({"Webhook-Signature": "v1,x"}, "/headers/Webhook-Signature", "is set by the bridge"),
        ({"X-Forwarded-For": "10.0.0.1"}, "/headers/X-Forwarded-For", "is set by the bridge"),
        ({"X-Room": "a", "x-room": "b"}, "/headers/x-room", "appears twice"),
        ({"X~Room": "a\r\nHost: b"}, "/headers/X~0Room", "must be printable ASCII"),
        ({"X-Room": "a\0b"}, "/headers/X-Room", "must be printable ASCII"),
        ({"X-Room": "é"}, "/headers/X-Room", "must be printable ASCII"),
        ({"X-Room": " a"}, "/headers/X-Room", "must be printable ASCII"),
        ({"X-Room": "a\n"}, "/headers/X-Room", "must be printable ASCII"),
        ({"X-Room": "y" * (MAX_VALUE_LENGTH + 1)}, "/headers/X-Room", "must be printable ASCII"),
    ],
)
def test_what_is_wrong_is_named_without_its_value(headers, pointer, detail):
    with pytest.raises(InvalidField) as caught:
        check_headers(headers)
    assert caught.value.pointer == pointer
    assert caught.value.detail.startswith(detail)


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
