"""The parser of JSON bodies, by itself and behind the API."""

import gzip
import json
from io import BytesIO

import pytest
from werkzeug.exceptions import default_exceptions

from app.api.input.json_body import MAX_BYTES, MAX_DEPTH, parse
from tests.support.api_client import ApiCaller, problem

JSON = {"Content-Type": "application/json"}


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"job_id=1",
        b'{"a":1,"a":2}',
        b'{"a":{"b":1,"b":1}}',
        b"NaN",
        b"[Infinity]",
        b"[-Infinity]",
        b"1e999",
        b"[-1e999]",
        b'"\\ud800"',
        b'{"\\udfff":1}',
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b"\xef\xbb\xbf{}",
        '{"a":1}'.encode("utf-16"),
        '{"a":1}'.encode("utf-16-be"),
        nested(MAX_DEPTH + 1),
        nested(100_000),
        b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1),
        b"1" * 5_000,
    ],
)
def test_what_is_not_json_as_the_standard_has_it_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(body)


@pytest.mark.parametrize(
    "body",
    [
        nested(MAX_DEPTH),
        b"[" + b"[]," * 100 + b"[]]",
        b'"\\u0000 \\ud83d\\ude00"',
        '{"who":"Zoë 😀","n":[1,-2.5,1e3,null,true]}'.encode(),
        b"123456789012345678901234567890",
    ],
)
def test_all_other_json_is_read(body: bytes) -> None:
    assert parse(body) == json.loads(body)


def test_a_body_that_is_not_json_is_answered_400_without_repeating_it(api: ApiCaller) -> None:
    answer = api.call("POST", "/v1/registrations", data=b'{"secret": whsec_canary', headers=JSON)
    problem(answer, 400)
    assert "canary" not in answer.text


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "the body is empty"),
        (b" \r\n", "the body is empty"),
        (b'{\n  "job_id": "j",\n}', "the fault is in line 3, column 1"),
        (b"{'a': 1}", "the fault is in line 1, column 2"),
        (b"{} {}", "the fault is in line 1, column 4"),
        (b'{"a": "b\xff"}', "byte 9 is not UTF-8"),
        (b"\xef\xbb\xbf{}", "it begins with a byte order mark; leave it out"),
        (b"[" + b"1" * 5_000 + b"]", "a number is out of range"),
        (b'{"a":1,"a":2}', "an object has a duplicate key"),
        (b'{"a":NaN}', "NaN and Infinity are not allowed"),
    ],
)
def test_a_body_that_is_not_json_is_told_where_in_plain_words(api: ApiCaller, body: bytes, words: str) -> None:
    answer = problem(api.call("POST", "/v1/registrations", data=body, headers=JSON), 400)
    assert answer["detail"] == f"not valid JSON (RFC 8259): {words}"


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "br", "identity, gzip", "deflate, gzip"])
def test_a_compressed_body_is_refused_by_the_name_of_its_header(api: ApiCaller, coding: str) -> None:
    headers = JSON | {"Content-Encoding": coding}
    answer = api.call("POST", "/v1/registrations", data=gzip.compress(b"{}"), headers=headers)
    assert problem(answer, 415)["detail"].startswith("Content-Encoding is not supported")


def test_the_coding_that_changes_nothing_may_be_named(api: ApiCaller) -> None:
    headers = JSON | {"Content-Encoding": "identity"}
    problem(api.call("POST", "/v1/registrations", data=b"{}", headers=headers), 422)
    assert api.call("GET", "/v1/projects", headers={"Content-Encoding": "gzip"}).status_code == 200


def test_a_transfer_coding_other_than_chunked_is_answered_501(api: ApiCaller) -> None:
    headers = JSON | {"Transfer-Encoding": "gzip, chunked"}
    assert (
        "Transfer-Encoding"
        in problem(api.call("POST", "/v1/registrations", data=b"{}", headers=headers), 501)["detail"]
    )


@pytest.mark.parametrize("charset", ["utf8", '"utf-8"', "UTF8"])
def test_utf_8_may_be_named_in_each_of_its_spellings(api: ApiCaller, charset: str) -> None:
    headers = {"Content-Type": f"application/json; charset={charset}"}
    problem(api.call("POST", "/v1/registrations", data=b"{}", headers=headers), 422)


def test_a_charset_other_than_utf_8_is_named_as_the_fault(api: ApiCaller) -> None:
    headers = {"Content-Type": "application/json; charset=gbk"}
    assert "charset" in problem(api.call("POST", "/v1/registrations", data=b"{}", headers=headers), 415)["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("PUT", "/v1/registrations", 405), ("GET", "/v1/registrations/reg_none", 404)],
)
def test_no_answer_is_in_the_words_of_a_library(api: ApiCaller, method: str, path: str, status: int) -> None:
    """werkzeug's are for people in front of a browser: "If you entered the URL manually …"."""
    detail = problem(api.call(method, path), status)["detail"]
    assert detail != default_exceptions[status].description


@pytest.mark.parametrize("body", ["[]", '"{}"', "null", "7"])
def test_a_body_that_is_no_object_is_answered_422(api: ApiCaller, body: str) -> None:
    body = problem(api.call("POST", "/v1/registrations", data=body, headers=JSON), 422)
    assert body["errors"] == [{"pointer": "", "detail": "must be an object"}]


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/json; charset=latin-1", "application/xml"])
def test_another_content_type_is_answered_415(api: ApiCaller, content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    problem(api.call("POST", "/v1/registrations", data=b"{}", headers=headers), 415)


def test_a_charset_of_utf_8_may_be_named(api: ApiCaller) -> None:
    headers = {"Content-Type": "application/json; charset=UTF-8"}
    problem(api.call("POST", "/v1/registrations", data=b"{}", headers=headers), 422)


@pytest.mark.parametrize(("size", "status"), [(MAX_BYTES, 422), (MAX_BYTES + 1, 413), (MAX_BYTES * 4, 413)])
def test_a_body_may_have_256_kib(api: ApiCaller, size: int, status: int) -> None:
    problem(api.call("POST", "/v1/registrations", data=b"{}".ljust(size), headers=JSON), status)


@pytest.mark.parametrize(("size", "status"), [(MAX_BYTES, 422), (MAX_BYTES + 1, 413), (MAX_BYTES * 4, 413)])
def test_a_body_that_does_not_declare_its_length_may_have_no_more(api: ApiCaller, size: int, status: int) -> None:
    chunked = {"input_stream": BytesIO(b"{}".ljust(size)), "environ_overrides": {"wsgi.input_terminated": True}}
    problem(api.call("POST", "/v1/registrations", headers=JSON, **chunked), status)
