"""The audit log: one line for each change by API, with key and address. Input of callers cannot forge a line."""

from collections.abc import Callable
from typing import Any

import pytest

from app.bootstrap.runtime import Runtime
from app.config.settings import load
from app.domain.access import Scope
from tests.support.api_client import ApiCaller

REFUSED = {"request_id": "r", "jobs": [{"phone_id": "p", "error_code": "CPS.0004"}]}
AuditLines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def audit_lines(caplog: pytest.LogCaptureFixture) -> AuditLines:
    """Returns the fields of the audit lines logged so far."""
    caplog.set_level("INFO", logger="bridge")

    def read() -> list[dict[str, Any]]:
        return [vars(record)["fields"] for record in caplog.records if record.getMessage() == "audit"]

    return read


def test_every_change_has_a_line(api: ApiCaller, audit_lines: AuditLines) -> None:
    key = api.runtime.stores.api_keys.create("acme", frozenset({Scope.ADMIN}), api.runtime.stores.clock())
    created = api.register(key=key, job_id=None, submission=REFUSED)
    id = created.json["id"]
    api.call("GET", f"/v1/registrations/{id}", key=key)
    api.call("POST", "/v1/registrations", json={}, key="nobody's")
    api.call("DELETE", f"/v1/registrations/{id}", key=key)
    api.call("POST", "/v1/keys", json={}, key=key)
    lines = audit_lines()
    assert [(line["method"], line["route"], line["status"]) for line in lines] == [
        ("POST", "/v1/registrations", 201),
        ("DELETE", "/v1/registrations/<id>", 204),
        ("POST", "/v1/keys", 201),
    ]
    assert lines[0].pop("took_ms") > 0
    assert lines[0] == {
        "tenant": "acme",
        "key_id": key.split("_")[1],
        "address": "127.0.0.1",
        "method": "POST",
        "route": "/v1/registrations",
        "location": f"/v1/registrations/{id}",
        "status": 201,
        "request_id": created.headers["X-Request-Id"],
        "trace_id": None,
    }
    assert lines[1]["id"] == id


def test_what_was_refused_has_a_line_too(api: ApiCaller, audit_lines: AuditLines) -> None:
    reader = api.runtime.stores.api_keys.create(
        "acme", frozenset({Scope.REGISTRATIONS_READ}), api.runtime.stores.clock()
    )
    api.register(key=reader)
    api.register(job_id=5)
    assert [(line["tenant"], line["key_id"], line["status"]) for line in audit_lines()] == [
        ("acme", reader.split("_")[1], 403),
        ("default", "bootstrap", 422),
    ]


def test_what_a_caller_makes_up_does_not_get_in(api: ApiCaller, audit_lines: AuditLines) -> None:
    forged = 'x","event":"audit","tenant":"root'
    api.call("POST", f"/v1/deliveries/{forged}/redeliver", headers={"X-Request-Id": forged})
    api.call("POST", f"/v1/{forged}")
    api.register(metadata={"a": forged}, headers={"Idempotency-Key": forged})
    assert len(audit_lines()) == 3
    assert "root" not in str(audit_lines())


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, "203.0.113.7", "127.0.0.1"),
        (1, "203.0.113.7", "203.0.113.7"),
        (1, "198.51.100.1, 203.0.113.7", "203.0.113.7"),
        (2, "198.51.100.1, 203.0.113.7, 10.0.0.1", "203.0.113.7"),
        (1, None, "127.0.0.1"),
    ],
)
def test_the_address_is_the_one_that_the_own_proxies_saw(
    environment: dict[str, str], audit_lines: AuditLines, proxies: int, forwarded: str | None, address: str
) -> None:
    api = ApiCaller(Runtime(load(environment | {"BRIDGE_API_PROXIES": str(proxies)})))
    api.register(headers={"X-Forwarded-For": forwarded} if forwarded else None)
    assert [line["address"] for line in audit_lines()] == [address]
    api.runtime.stores.redis.close()


def test_a_trace_is_named_where_its_request_is_logged(api: ApiCaller, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="bridge")
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    api.register(headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    lines = [vars(record)["fields"] for record in caplog.records if record.getMessage() == "audit"]
    assert [line["trace_id"] for line in lines] == [trace]
