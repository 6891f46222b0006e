"""Errors: each is a problem with a request id, and reveals nothing internal."""

import base64
from typing import Any

import pytest

from app.bootstrap.runtime import Runtime
from app.config.settings import load
from tests.support.api_client import ApiCaller, problem


def logged(caplog: pytest.LogCaptureFixture, event: str) -> dict[str, Any]:
    """The fields of the only log line of this event."""
    [fields] = [vars(record)["fields"] for record in caplog.records if record.getMessage() == event]
    return dict(fields)


def test_an_unknown_path_is_answered_404(api: ApiCaller) -> None:
    for path in ("/nothing", "/v1/nothing", "/v1/registrations/", "//v1/registrations", "/static/x", "/openapi/"):
        problem(api.call("GET", path), 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/registrations", {"GET", "HEAD", "POST"}),
        ("OPTIONS", "/v1/registrations", {"GET", "HEAD", "POST"}),
        ("PATCH", "/v1/registrations/x", {"GET", "HEAD", "DELETE"}),
        ("POST", "/healthz", {"GET", "HEAD"}),
    ],
)
def test_another_method_is_answered_405_with_those_that_work(
    api: ApiCaller, method: str, path: str, allowed: set[str]
) -> None:
    answer = api.call(method, path)
    problem(answer, 405)
    assert set(answer.headers["Allow"].split(", ")) == allowed


def test_a_sane_request_id_is_adopted(api: ApiCaller) -> None:
    for path, status in (("/healthz", 200), ("/nothing", 404)):
        answer = api.call("GET", path, headers={"X-Request-Id": "Trace.1-2_3"})
        assert (answer.status_code, answer.headers["X-Request-Id"]) == (status, "Trace.1-2_3")


@pytest.mark.parametrize("id", ["", "a b", "x" * 129, 'a"b', "ä"])
def test_any_other_request_id_is_replaced(api: ApiCaller, id: str) -> None:
    answer = api.call("GET", "/nothing", headers={"X-Request-Id": id})
    assert problem(answer, 404)["request_id"] != id


def test_each_request_has_a_line_in_the_log(api: ApiCaller, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="bridge")
    answer = api.call("GET", "/v1/registrations/reg_canary")
    line = logged(caplog, "api.request")
    assert line.pop("took_ms") >= 0
    assert line == {
        "method": "GET",
        "route": "/v1/registrations/<id>",
        "status": 404,
        "request_id": answer.headers["X-Request-Id"],
        "trace_id": None,
        "tenant": "default",
    }


def test_without_redis_the_answer_says_when_to_come_back(environment: dict[str, str]) -> None:
    unavailable = Runtime(load({**environment, "BRIDGE_REDIS_URL": "unix:///nowhere/redis.sock"}))
    api = ApiCaller(unavailable)
    for answer in (api.register(), api.call("GET", "/v1/deliveries"), api.call("GET", "/readyz")):
        problem(answer, 503)
        assert int(answer.headers["Retry-After"]) > 0
    assert api.call("GET", "/healthz").status_code == 200


def test_a_missing_key_for_what_is_encrypted_is_reported_to_the_operator_alone(
    api: ApiCaller, environment: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    id = api.registered()["id"]
    other = Runtime(load({**environment, "BRIDGE_SECRET_KEYS": "k2:" + base64.b64encode(bytes(32)).decode()}))
    answer = ApiCaller(other).call("POST", f"/v1/registrations/{id}/rotate-secret", json={})
    problem(answer, 500)
    assert "BRIDGE" not in answer.text
    assert "BRIDGE_SECRET_KEYS" in logged(caplog, "settings.wrong")["reason"]
    other.stores.redis.close()


def test_a_bug_is_answered_500_and_logged_without_what_was_sent(
    runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    api = ApiCaller(runtime)

    def buggy() -> None:
        raise KeyError("canary")

    api.app.add_url_rule("/buggy", view_func=buggy)
    answer = api.call("GET", "/buggy")
    request_id = problem(answer, 500)["request_id"]
    line = logged(caplog, "api.failed")
    assert (line["error"], line["request_id"]) == ("KeyError", request_id)
    assert "in buggy" in line["traceback"]
    assert "canary" not in answer.text
