"""Malformed and hostile requests, many of which break a plain Flask view: each gets a 4xx problem, none a 500."""

import json
from typing import Any

import pytest

from tests.support.api_client import KEY, SMALLEST, ApiCaller, problem

JSON = {"Content-Type": "application/json"}
WITH_BODY = [
    "/v1/registrations",
    "/v1/callbacks/test",
    "/v1/deliveries/redeliver",
    "/v1/keys",
    "/v1/registrations/reg_00000000000000000000000000/rotate-secret",
    "/v1/keys/000000000000/rotate",
]


def body(**fields: Any) -> bytes:
    return json.dumps(SMALLEST | fields).encode()


@pytest.mark.parametrize("path", WITH_BODY)
@pytest.mark.parametrize(
    "sent",
    [
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b"[" * 200_000,
        b'{"metadata":{"n":NaN}}',
        b'{"deadline_s":1e999}',
        b'{"deadline_s":' + b"9" * 5_000 + b"}",
        body().decode().encode("utf-16"),
        b'{"metadata":{"a":"\\ud800"}}',
        b'{"metadata":{"a":"\xed\xa0\x80"}}',
        b'{"job_id":"a","job_id":"b"}',
        b'{"metadata":{"x":1,"x":2}}',
        b"\xef\xbb\xbf{}",
        b"{}{}",
        b"{} //",
        b"{'a':1}",
        b'{"a":01}',
        b"",
        b"\0",
    ],
)
def test_json_games_are_answered_400(api: ApiCaller, path: str, sent: bytes) -> None:
    answer = problem(api.call("POST", path, data=sent, headers=JSON), 400)
    assert "canary" not in str(answer)


@pytest.mark.parametrize("path", WITH_BODY)
@pytest.mark.parametrize("sent", [b"[]", b"[{}]", b"null", b"true", b'"a"', b"1"])
def test_what_is_no_object_is_answered_422(api: ApiCaller, path: str, sent: bytes) -> None:
    problem(api.call("POST", path, data=sent, headers=JSON), 422)


@pytest.mark.parametrize("path", WITH_BODY)
def test_unknown_fields_are_refused(api: ApiCaller, path: str) -> None:
    errors = problem(api.call("POST", path, json={"__proto__": {}, "tenant": "other"}), 422)["errors"]
    assert {"pointer": "/tenant", "detail": "unknown field"} in errors


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("jobId", "job_id"),
        ("callbackUrl", "callback_url"),
        ("Request-ID", "request_id"),
        ("job_di", "job_id"),
        ("x", ""),
    ],
)
def test_an_unknown_field_is_answered_with_the_one_that_was_meant(api: ApiCaller, given: str, meant: str) -> None:
    errors = problem(api.call("POST", "/v1/registrations", json={"job_ids": ["one"], given: "x"}), 422)["errors"]
    detail = f"unknown field; did you mean {meant}?" if meant else "unknown field"
    assert errors == [{"pointer": f"/{given}", "detail": detail}]


def test_an_unknown_query_parameter_is_answered_with_the_one_that_was_meant(api: ApiCaller) -> None:
    errors = problem(api.call("GET", "/v1/registrations?requestId=r"), 422)["errors"]
    assert errors == [{"pointer": "/query/requestId", "detail": "unknown field; did you mean request_id?"}]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("deadline_s", 10**400),
        ("deadline_s", -1),
        ("deadline_s", 7200.0),
        ("deadline_s", "7200"),
        ("deadline_s", True),
        ("deadline_s", 1e300),
        ("job_id", "a" * 129),
        ("job_id", "a\n"),
        ("job_id", "a:b"),
        ("job_id", "\u0000"),
        ("job_id", 5),
        ("job_id", ["a"]),
        ("job_ids", []),
        ("job_ids", ["a"] * 1_001),
        ("callback_url", "http://127.0.0.1:9/\r\nX: y"),
        ("callback_url", "http://127.0.0.1:9/\u0000"),
        ("callback_url", "http://127.0.0.1:9/" + "a" * 2_048),
        ("callback_url", "http://a@127.0.0.1:9/"),
        ("callback_url", "javascript:alert(1)"),
        ("callback_url", "file:///etc/passwd"),
        ("headers", {"X-A": "b\r\nHost: c"}),
        ("headers", {"X-A\r\n": "b"}),
        ("headers", {"Host": "b"}),
        ("headers", {"Content-Length": "0"}),
        ("headers", {f"X-{number}": "" for number in range(21)}),
        ("metadata", {"a": "x" * 5_000}),
        ("metadata", []),
        ("events", ["job.succeeded\n"]),
        ("events", [{}]),
        ("secret", "whsec_"),
        ("project", "a" * 100_000),
        ("project", "default\n"),
        ("verify", "true"),
    ],
)
def test_fields_out_of_bounds_are_pointed_at(api: ApiCaller, field: str, value: Any) -> None:
    fields = {"job_id": None, field: value} if field == "job_ids" else {field: value}
    answer = api.call("POST", "/v1/registrations", data=body(**fields), headers=JSON)
    if answer.status_code == 400:  # a number with more digits than Python reads
        return
    errors = problem(answer, 422)["errors"]
    assert errors[0]["pointer"].startswith(f"/{field}")


@pytest.mark.parametrize("moment", [{}, [], 5, True, "", "now", "2026-01-01", "２026-01-01T00:00:00Z"])
def test_what_is_no_moment_is_pointed_at(api: ApiCaller, moment: Any) -> None:
    answer = api.call("POST", "/v1/deliveries/redeliver", json={"state": "dead", "since": moment})
    assert problem(answer, 422)["errors"][0]["pointer"] == "/since"


def test_an_order_is_no_delivery(api: ApiCaller) -> None:
    answer = api.call("GET", "/v1/deliveries/redeliver")
    problem(answer, 405)
    assert answer.headers["Allow"] == "POST"


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/json",
        "text/plain",
        "application/json+x",
        "application/json, text/plain",
        "application/json; charset=utf-16",
        "application/json; charset=utf-7",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=a",
        "application/json\x0b",
    ],
)
def test_content_type_games_are_answered_415(api: ApiCaller, content_type: str) -> None:
    problem(api.call("POST", "/v1/registrations", data=body(), headers={"Content-Type": content_type}), 415)


@pytest.mark.parametrize("content_type", ["APPLICATION/JSON", 'application/json; charset="utf-8"'])
def test_other_spellings_of_the_content_type_are_read(api: ApiCaller, content_type: str) -> None:
    answer = api.call("POST", "/v1/registrations", data=body(), headers={"Content-Type": content_type})
    assert answer.status_code == 201


@pytest.mark.parametrize(
    "path",
    [
        "//v1/registrations",
        "/v1//registrations",
        "/v1/registrations/",
        "/v1/registrations//",
        "/v1/./registrations",
        "/v1/../v1/registrations",
        "/v1/registrations/..;/keys",
        "/v1;a=b/registrations",
        "/v1/registrations;a=b",
        "/v1%2fregistrations",
        "/v1/%72egistrations",
        "/v1/registrations%00",
        "/v1/registrations%0d%0aX:y",
        "/v1/registrations/%2e%2e/keys",
        "/v1/registrations/reg_%30000000000000000000000000",
        "/V1/registrations",
        "/v1/Registrations",
        "/v1/registrations.json",
        "/v1\\registrations",
        "/v1/registrations/reg_" + "0" * 3_000,
        "/v1/registrations/REG_00000000000000000000000000",
        "/v1/registrations/reg_ilou0000000000000000000000\n",
    ],
)
def test_path_games_are_answered_404(api: ApiCaller, path: str) -> None:
    problem(api.call("GET", path), 404)


def test_no_path_game_passes_by_the_key(api: ApiCaller) -> None:
    for path in ("/v1/registrations", "/v1/../v1/registrations", "/v1;/registrations", "/v1/x", "/v1//registrations"):
        assert api.call("GET", path, key=None).status_code in (401, 404), path


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=1&limit=2", "/query/limit"),
        ("limit=99999999999999999999", "/query/limit"),
        ("limit=" + "9" * 3_000, "/query/limit"),
        ("limit=1e1", "/query/limit"),
        ("limit=%31%0a", "/query/limit"),
        ("limit=0x10", "/query/limit"),
        ("limit[]=1", "/query/limit[]"),
        ("state=watching%00", "/query/state"),
        ("state=%ff", "/query"),
        ("job_id=%ed%a0%80", "/query"),
        ("&".join(f"a{number}=1" for number in range(40)), "/query"),
    ],
)
def test_query_games_are_pointed_at(api: ApiCaller, query: str, pointer: str) -> None:
    errors = problem(api.call("GET", f"/v1/registrations?{query}"), 422)["errors"]
    assert errors[0]["pointer"] == pointer


@pytest.mark.parametrize("call", ["GET /v1/projects", "GET /v1/public-keys", "POST /v1/registrations"])
def test_calls_without_parameters_have_none(api: ApiCaller, call: str) -> None:
    method, path = call.split()
    errors = problem(api.call(method, f"{path}?debug=1", json=SMALLEST if method == "POST" else None), 422)["errors"]
    assert errors == [{"pointer": "/query/debug", "detail": "unknown field"}]


@pytest.mark.parametrize(
    "since", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "1969-01-01T00:00:00Z", "2026-02-30T00:00:00Z"]
)
def test_moments_at_the_ends_of_time_break_nothing(api: ApiCaller, since: str) -> None:
    for name in ("since", "until"):
        answer = api.call("GET", "/v1/deliveries", query_string={name: since})
        assert answer.status_code in (200, 422)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Idempotency-Key", ""),
        ("Idempotency-Key", "a" * 256),
        ("Idempotency-Key", "é"),
        ("Idempotency-Key", "a\tb"),
    ],
)
def test_header_games_are_pointed_at(api: ApiCaller, name: str, value: str) -> None:
    errors = problem(api.register(headers={name: value}), 422)["errors"]
    assert errors[0]["pointer"] == f"/headers/{name}"


@pytest.mark.parametrize("traceparent", ["", "00-x", "ff-" + "1" * 32 + "-" + "1" * 16 + "-01", "a" * 5_000, "é"])
def test_a_traceparent_that_is_malformed_is_passed_over(api: ApiCaller, traceparent: str) -> None:
    assert api.register(headers={"traceparent": traceparent}).status_code == 201


def test_other_methods_by_another_name_are_not_heard_of(api: ApiCaller) -> None:
    registration = api.registered()
    override = {"X-HTTP-Method-Override": "DELETE", "X-Method-Override": "DELETE"}
    assert api.call("GET", f"/v1/registrations/{registration['id']}", headers=override).status_code == 200
    assert api.get(f"/v1/registrations/{registration['id']}")["state"] == "watching"
    for method in ("TRACE", "CONNECT", "PROPFIND", "FOO"):
        problem(api.call(method, "/v1/registrations"), 405)


def test_a_host_that_a_caller_made_up_is_not_repeated(api: ApiCaller) -> None:
    answer = api.register(headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"})
    assert answer.status_code == 201
    assert "evil" not in str(answer.headers) + answer.text


@pytest.mark.parametrize("key", [KEY + " ", f" {KEY}", f"{KEY}\t"])
def test_blanks_around_a_key_do_not_matter(api: ApiCaller, key: str) -> None:
    assert api.call("GET", "/v1/projects", key=key).status_code == 200


@pytest.mark.parametrize("key", [KEY + "x", KEY[:-1], KEY.upper(), f"{KEY},{KEY}", "\x00", "é" * 10, "x" * 8_000])
def test_what_is_nearly_a_key_is_none(api: ApiCaller, key: str) -> None:
    problem(api.call("GET", "/v1/projects", key=key), 401)
