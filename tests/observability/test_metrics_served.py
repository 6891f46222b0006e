"""/metrics as processes serve it. tests/whole/test_metrics.py reads it after a load."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from app.api.server import SHARED_MEMORY
from app.devkit.processes import PATIENCE_S, start, wait_until
from tests.support.served_api import CPH_BRIDGE, ServedApi

SAMPLE = 'cph_bridge_api_request_duration_seconds_count{method="GET",route="/v1/registrations",status="200"} '


@pytest.fixture
def two_process_api(environment: dict[str, str], tmp_path: Path) -> Iterator[ServedApi]:
    """One API with two gunicorn processes."""
    with ExitStack() as stack:
        process = start([CPH_BRIDGE, "api"], environment | {"BRIDGE_API_WORKERS": "2"}, log=tmp_path / "stderr")
        served = ServedApi(stack.enter_context(process), tmp_path / "stderr")
        wait_until(lambda: served.call("GET", "/readyz").ok, what="an answer from Redis")
        yield served


def read_count(url: str) -> float:
    answer = requests.get(url, timeout=10)
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return sum(float(line.removeprefix(SAMPLE)) for line in answer.text.splitlines() if line.startswith(SAMPLE))


def test_whichever_process_is_asked_reports_what_all_have_counted(two_process_api: ServedApi) -> None:
    for _ in range(40):
        assert two_process_api.call("GET", "/v1/registrations").status_code == 200
    api_url = f"{two_process_api.address}/metrics"
    probe_url = f"{two_process_api.listening['probes']}/metrics"
    assert two_process_api.listening["metrics"] == probe_url
    assert [read_count(url) for url in (api_url, probe_url) * 5] == [40] * 10


def test_nothing_of_it_is_left_when_the_api_ends(two_process_api: ServedApi) -> None:
    (folder,) = [
        path for path in SHARED_MEMORY.glob("cph-bridge-counts-*") if str(two_process_api.process.pid) in path.name
    ]
    assert list(folder.glob("*.db"))
    assert two_process_api.process.stop(PATIENCE_S) == 0
    assert not folder.exists()


def test_on_a_port_of_its_own_it_is_nowhere_else(environment: dict[str, str], tmp_path: Path) -> None:
    with start([CPH_BRIDGE, "api"], environment | {"BRIDGE_METRICS_BIND": "127.0.0.1:0"}, log=tmp_path / "log") as api:
        served = ServedApi(api, tmp_path / "log")
        assert requests.get(served.listening["metrics"], timeout=10).status_code == 200
        assert served.call("GET", "/metrics").status_code == 404
        assert served.probe("/metrics") == 404


@pytest.mark.parametrize("role", [["api"], ["worker", "poll"]])
def test_an_address_that_cannot_be_had_ends_it_at_once(
    environment: dict[str, str], role: list[str], tmp_path: Path
) -> None:
    with start([CPH_BRIDGE, *role], environment | {"BRIDGE_METRICS_BIND": "nowhere"}, log=tmp_path / "log") as process:
        assert wait_until(lambda: process.exit_code, what="the process to exit") == 2
    assert "BRIDGE_METRICS_BIND: 'nowhere' is not host:port" in (tmp_path / "log").read_text(encoding="utf-8")


def test_a_worker_without_an_address_shows_none(environment: dict[str, str], tmp_path: Path) -> None:
    with start([CPH_BRIDGE, "worker", "deliver"], environment, log=tmp_path / "log"):
        wait_until(lambda: "worker.started" in (tmp_path / "log").read_text(encoding="utf-8"), what="the worker")
    assert "worker.metrics_served" not in (tmp_path / "log").read_text(encoding="utf-8")
