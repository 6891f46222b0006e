"""Export of traces: from the settings to a collector."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from app.api.app import create_app
from app.bootstrap.runtime import Runtime
from app.config.settings import load
from app.domain.errors import OperatorError

RECORD_ONE_POLL = """
from app.bootstrap.runtime import Runtime
from app.config.settings import load
Runtime(load()).tracing.record_poll([], 0.1, project="default")
"""
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Collector(HTTPServer):
    """Stores the spans that it receives over OTLP."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), CollectorHandler)
        self.received: list[Any] = []


class CollectorHandler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received += ExportTraceServiceRequest.FromString(_uncompressed(body, self.headers)).resource_spans
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def _uncompressed(body: bytes, headers: Any) -> bytes:
    assert headers.get("Content-Encoding", "identity") == "identity"
    return body


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def values_by_key(attributes: Any) -> dict[str, Any]:
    return {each.key: each.value.string_value or each.value.int_value for each in attributes}


def test_requests_go_to_the_collector_that_the_environment_names(
    environment: dict[str, str], collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "bridge-of-the-lab")
    runtime = Runtime(load(environment | {"BRIDGE_OTEL": "true"}))
    headers = {"traceparent": PARENT, "X-Request-Id": "r-1", "Authorization": "Bearer s3cret"}
    create_app(runtime).test_client().get("/v1/registrations?limit=7", headers=headers)
    assert runtime.tracing
    runtime.tracing.close()
    runtime.stores.redis.close()
    ((resource, scope),) = [(each.resource, each.scope_spans[0]) for each in collector.received]
    (span,) = scope.spans
    assert values_by_key(resource.attributes)["service.name"] == "bridge-of-the-lab"
    assert (span.name, span.kind) == ("GET /v1/registrations", span.SPAN_KIND_SERVER)
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == tuple(PARENT.split("-")[1:3])
    assert values_by_key(span.attributes) == {"bridge.request_id": "r-1", "http.response.status_code": 401}
    assert span.start_time_unix_nano < span.end_time_unix_nano


@pytest.mark.parametrize("answers", [True, False])
def test_the_end_of_a_process_sends_what_it_has_and_waits_for_nobody(
    environment: dict[str, str], collector: Collector, answers: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unresponsive:
        port = collector.server_port if answers else unresponsive.getsockname()[1]
        otel = {"BRIDGE_OTEL": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}
        exporter = {"OTEL_EXPORTER_OTLP_TIMEOUT": "600000"}  # the end of a process does not wait for it
        subprocess.run(
            [sys.executable, "-c", RECORD_ONE_POLL], env=environment | otel | exporter, check=True, timeout=120
        )
    assert len(collector.received) == int(answers)


def test_it_is_off_at_first(runtime: Runtime) -> None:
    assert runtime.tracing is None


def test_without_the_extra_the_error_says_what_to_install(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "opentelemetry"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    load(environment)
    with pytest.raises(OperatorError, match=r"BRIDGE_OTEL: .*cph-webhook-bridge\[otel\]"):
        load(environment | {"BRIDGE_OTEL": "true"})
