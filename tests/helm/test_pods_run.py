"""Runs the rendered pods: their argv, environment and files, with a read-only root."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.devkit.client import BridgeClient
from app.devkit.processes import wait_until
from tests.support import tools
from tests.support.paths import ROOT
from tests.support.pods import Image
from tests.support.rendered_chart import ROLES
from tests.support.running_chart import Running, running

pytestmark = pytest.mark.slow

RUNBOOK = ROOT / "docs" / "operations.md"
# The files of this checkout instead of an image's. Runs as root, as only root may be able to read Python's folder.
TREE = Image(Path("/"), "0:0", {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"})


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    tools.module("helm_python")
    if os.geteuid() != 0:
        tools.cannot("root is missing: namespaces with mounts of their own need it")
    with running(tmp_path_factory.mktemp("pods"), TREE) as bridge:
        yield bridge


@pytest.fixture
def key(bridge: Running) -> str:
    bridge.receiver.callbacks.clear()
    return bridge.key()


def test_every_probe_is_content(bridge: Running) -> None:
    for role in ROLES:
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert bridge.pods[role].healthy(probe), (role, probe)


def test_nobody_can_write_to_the_root(bridge: Running) -> None:
    for role in ROLES:
        assert bridge.pods[role].run("touch", "/etc/here").returncode != 0
        assert bridge.pods[role].run("touch", "/run/bridge/secrets/redis-url").returncode != 0
        assert bridge.pods[role].run("touch", "/tmp/here").returncode == 0


def test_the_doctor_of_the_notes_is_content_with_the_poller(bridge: Running) -> None:
    result = bridge.pods["poller"].run("cph-bridge", "doctor")
    assert result.returncode == 0, result.stdout
    assert "CPH project default answers" in result.stdout


def test_the_last_line_of_the_notes_works(bridge: Running) -> None:
    *_, forward, key, curl = bridge.node.rendered.notes.strip().splitlines()
    assert "port-forward svc/bridge-cph-webhook-bridge-api" in forward
    _, _, create = key.strip().removesuffix(")").partition("deploy/bridge-cph-webhook-bridge-api -- ")
    lines = f"KEY='{bridge.pods['api'].run(*create.split()).stdout.strip()}'\n{curl.strip()}"
    done = subprocess.run(
        ["bash", "-ec", lines.replace("http://127.0.0.1:8080", bridge.api_url)],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert '"name":"default"' in done.stdout, done.stderr


def test_the_runbooks_command_has_a_refused_project_tried_at_once(bridge: Running, key: str) -> None:
    def state() -> str:
        (project,) = BridgeClient(bridge.api_url, key).call("GET", "/v1/projects")["items"]
        return str(project["state"])

    (line,) = (line for line in RUNBOOK.read_text(encoding="utf-8").splitlines() if "signal.SIGHUP" in line)
    _, _, command = line.partition("kubectl exec deploy/…-poller -- ")
    bridge.standin.call("POST", "/_standin/faults", {"kind": "forbidden", "for_s": 3_600})
    try:
        registrations = bridge.register(key, bridge.job())
        wait_until(lambda: state() == "refused", what="the project is refused")
    finally:
        bridge.standin.call("DELETE", "/_standin/faults")
    result = bridge.pods["poller"].run(*shlex.split(command))
    assert result.returncode == 0, result.stderr
    # Without the signal, nothing would try it within a minute.
    wait_until(lambda: state() == "ok", what="the project is tried")
    bridge.wait_until_delivered(key, *registrations)


def test_what_helm_test_runs_is_content(bridge: Running) -> None:
    *command, url = bridge.node.rendered.one("Pod")["spec"]["containers"][0]["command"]
    assert url == "http://bridge-cph-webhook-bridge-api:80/readyz"
    assert bridge.pods["sender"].run(*command, f"{bridge.api_url}/readyz").stdout == "200\n"


def test_a_registration_ends_in_a_signed_callback(bridge: Running, key: str) -> None:
    bridge.wait_until_delivered(key, *bridge.register(key, bridge.job(duration_s=1), bridge.job()))


def test_a_sender_that_is_told_to_end_finishes_its_attempts_within_the_grace(bridge: Running, key: str) -> None:
    receiver = bridge.receiver
    # A destination that has answered may get more than one callback at once.
    bridge.wait_until_delivered(key, *bridge.register(key, *(bridge.job() for _ in range(20))))
    receiver.callbacks.clear()
    receiver.gate.clear()
    registrations = bridge.register(key, *(bridge.job() for _ in range(20)))
    wait_until(lambda: len(receiver.callbacks) == 4, what="half of the threads at their attempts")
    in_progress = set(receiver.ids())
    assert bridge.pods["sender"].terminate(then=receiver.gate.set) == 0
    assert set(receiver.ids()) == in_progress
    bridge.replace("sender")
    bridge.wait_until_delivered(key, *registrations)
    assert set(receiver.ids().values()) == {1}
    assert len(receiver.ids()) == len(registrations)


def test_a_poller_that_is_told_to_end_at_work_loses_nothing(bridge: Running, key: str) -> None:
    registrations = bridge.register(key, *(bridge.job(duration_s=4) for _ in range(20)))
    wait_until(lambda: bridge.standin.call("GET", "/_standin/calls")["show_job"] > 20, what="polls")
    assert bridge.pods["poller"].terminate() == 0
    bridge.replace("poller")
    bridge.wait_until_delivered(key, *registrations)
    assert set(bridge.receiver.ids().values()) == {1}


def test_an_api_that_is_told_to_end_answers_what_it_was_asked(bridge: Running, key: str) -> None:
    bridge.receiver.gate.clear()
    with ThreadPoolExecutor() as pool:
        client = BridgeClient(bridge.api_url, key)
        asked = pool.submit(client.call, "POST", "/v1/callbacks/test", {"callback_url": bridge.receiver.url})
        bridge.receiver.wait_for(1)
        assert bridge.pods["api"].terminate(then=bridge.receiver.gate.set) == 0
        assert asked.result()["verdict"] == "delivered"
    bridge.replace("api")


def test_workers_live_and_the_api_is_not_ready_while_redis_is_unavailable(bridge: Running) -> None:
    bridge.pods["sender"].run("touch", "--date", "2 minutes ago", "/tmp/alive")
    assert not bridge.pods["sender"].healthy("livenessProbe")
    bridge.redis.kill()
    wait_until(lambda: not bridge.pods["api"].healthy("readinessProbe"), what="the API is not ready")
    assert bridge.pods["api"].healthy("livenessProbe")
    for role in ("poller", "sender"):
        wait_until(lambda: bridge.pods[role].healthy("livenessProbe"), what=f"{role} lives")  # noqa: B023
    bridge.redis = bridge.start_redis()
    wait_until(lambda: bridge.pods["api"].healthy("readinessProbe"), what="the API is ready again")
