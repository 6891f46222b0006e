"""The page as processes serve it; test_metrics.py in tests/whole has it after a load."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from app.api.server import SHARED_MEMORY
from app.devkit.processes import PATIENCE_S, start, wait_until
from tests.api.test_api_served import CPH_BRIDGE, ServedApi

COUNTED = 'cph_bridge_api_request_duration_seconds_count{method="GET",route="/v1/registrations",status="200"} '


@pytest.fixture
def two_processes(environment: dict[str, str], tmp_path: Path) -> Iterator[ServedApi]:
    """Of one API."""
    with ExitStack() as stack:
        process = start([CPH_BRIDGE, "api"], environment | {"BRIDGE_API_WORKERS": "2"}, log=tmp_path / "stderr")
        served = ServedApi(stack.enter_context(process), tmp_path / "stderr")
        wait_until(lambda: served.call("GET", "/readyz").ok, what="Redis answers")
        yield served


def counted(url: str) -> float:
    answer = requests.get(url, timeout=10)
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return sum(float(line.removeprefix(COUNTED)) for line in answer.text.splitlines() if line.startswith(COUNTED))


def test_whichever_process_is_asked_tells_what_all_have_counted(two_processes: ServedApi) -> None:
    for _ in range(40):
        assert two_processes.call("GET", "/v1/registrations").status_code == 200
    own, probes = f"{two_processes.address}/metrics", f"{two_processes.said['probes']}/metrics"
    assert two_processes.said["metrics"] == probes
    assert [counted(url) for url in (own, probes) * 5] == [40] * 10


def test_nothing_of_it_is_left_when_the_api_ends(two_processes: ServedApi) -> None:
    (folder,) = [
        path for path in SHARED_MEMORY.glob("cph-bridge-counts-*") if str(two_processes.process.pid) in path.name
    ]
    assert list(folder.glob("*.db"))
    assert two_processes.process.stop(PATIENCE_S) == 0
    assert not folder.exists()


def test_on_a_port_of_its_own_it_is_nowhere_else(environment: dict[str, str], tmp_path: Path) -> None:
    with start([CPH_BRIDGE, "api"], environment | {"BRIDGE_METRICS_BIND": "127.0.0.1:0"}, log=tmp_path / "log") as api:
        served = ServedApi(api, tmp_path / "log")
        assert requests.get(served.said["metrics"], timeout=10).status_code == 200
        assert served.call("GET", "/metrics").status_code == 404
        assert served.probe("/metrics") == 404


@pytest.mark.parametrize("role", [["api"], ["worker", "poll"]])
def test_an_address_that_cannot_be_had_ends_it_at_once(
    environment: dict[str, str], role: list[str], tmp_path: Path
) -> None:
    with start([CPH_BRIDGE, *role], environment | {"BRIDGE_METRICS_BIND": "nowhere"}, log=tmp_path / "log") as process:
        assert wait_until(lambda: process.exit_code, what="its end") == 2
    assert "BRIDGE_METRICS_BIND: 'nowhere' is not host:port" in (tmp_path / "log").read_text(encoding="utf-8")


def test_a_worker_without_an_address_shows_none(environment: dict[str, str], tmp_path: Path) -> None:
    with start([CPH_BRIDGE, "worker", "deliver"], environment, log=tmp_path / "log"):
        wait_until(lambda: "worker.started" in (tmp_path / "log").read_text(encoding="utf-8"), what="the worker")
    assert "worker.measured" not in (tmp_path / "log").read_text(encoding="utf-8")
