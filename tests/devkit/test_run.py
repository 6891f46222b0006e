"""`./dev run`, as a process of its own whose curl lines are pasted into a shell."""

import json
import os
import shlex
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from app.devkit.processes import start, wait_until
from tests.support.dev_run import ANYWHERE, RUN, descendants, end, ended, exported, line_with, running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder in which `./dev run` is started."""
    return tmp_path


@pytest.fixture
def temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """TMPDIR of `./dev run`."""
    return tmp_path_factory.mktemp("t")


def paste(curl: str) -> dict[str, Any]:
    pasted = subprocess.run(["sh", "-c", curl], capture_output=True, check=True, timeout=20)
    answer: dict[str, Any] = json.loads(pasted.stdout)
    return answer


@pytest.mark.slow
def test_the_lines_that_it_prints_work_and_ctrl_c_leaves_nothing(folder: Path, temporary_folder: Path) -> None:
    with running(folder, temporary_folder, *ANYWHERE) as run:
        more, register = line_with(run, "/_standin/jobs"), line_with(run, "/v1/registrations")
        line_with(run, "Ctrl-C ends")
        [file] = (folder / ".dev").iterdir()
        assert file.name == f"run-{run.pid}.env"
        assert file.read_text(encoding="utf-8").splitlines() == [line for line in run.lines if "export " in line]
        offered = paste(register)["jobs"][0]["job_id"]
        job = paste(more.replace('"duration_s": 10', '"duration_s": 0'))["jobs"][0]["job_id"]
        registration = paste(register.replace(offered, job))
        line_with(run, f"{job} job.succeeded, signature verified")
        line_with(run, f"delivered  {registration['id']}")
        metrics = line_with(run, "Metrics ").split()[1]
        assert requests.get(metrics, timeout=10).headers["content-type"].startswith("text/plain; version=")
        assert requests.get(exported(run, "BRIDGE_URL"), timeout=10).url.endswith("/docs")
        assert descendants(temporary_folder)
        end(run)
        assert descendants(temporary_folder) == []
    assert list(temporary_folder.iterdir()) == list((folder / ".dev").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_a_signal_while_it_starts_leaves_nothing_either(
    folder: Path, temporary_folder: Path, number: signal.Signals
) -> None:
    with running(folder, temporary_folder, *ANYWHERE) as run:
        line_with(run, "starting")
        os.kill(run.pid, number)
        assert ended(run)[0] == 130
        assert descendants(temporary_folder) == []
    assert list(temporary_folder.iterdir()) == []


@pytest.mark.slow
def test_without_bind_it_takes_port_8080_or_says_that_it_is_taken(folder: Path, temporary_folder: Path) -> None:
    with socket.socket() as other:
        with suppress(OSError):  # another process may already have it
            other.bind(("127.0.0.1", 8080))
            other.listen()
        with running(folder, temporary_folder) as run:
            line_with(run, "port 8080 is taken")
            assert not exported(run, "BRIDGE_URL").endswith(":8080")
            end(run)
    with running(folder, temporary_folder) as run:
        free = exported(run, "BRIDGE_URL") == "http://127.0.0.1:8080"
        assert free != any("is taken" in line for line in run.lines)
        end(run)


@pytest.mark.slow
def test_two_that_start_at_the_same_time_do_not_want_the_same_port(folder: Path, temporary_folder: Path) -> None:
    with running(folder, temporary_folder) as one, running(folder, temporary_folder) as other:
        assert exported(one, "BRIDGE_URL") != exported(other, "BRIDGE_URL")
        end(one)
        end(other)


def test_its_port_is_its_own_from_the_first_line_on(folder: Path, temporary_folder: Path) -> None:
    """At a loopback address on which no other process opens ports."""
    with socket.create_server((f"127.{os.getpid() % 200 + 1}.0.1", 0)) as free:
        host, port = free.getsockname()
    with running(folder, temporary_folder, "--bind", f"{host}:{port}") as run:
        line_with(run, "starting")
        with pytest.raises(OSError, match="in use"):
            socket.create_server((host, port)).close()
        end(run)


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_it_may_listen_on_an_ipv6_address(folder: Path, temporary_folder: Path) -> None:
    with running(folder, temporary_folder, "--bind", "[::1]:0") as run:
        assert exported(run, "BRIDGE_URL").startswith("http://[::1]:")
        end(run)


def test_whoever_reads_no_more_leaves_nothing_behind(folder: Path, temporary_folder: Path) -> None:
    command = f"cd {shlex.quote(str(folder))} && {{ {shlex.join([*RUN, *ANYWHERE])}; echo ended >&2; }} | head -1"
    with start(["sh", "-c", command], {"TMPDIR": str(temporary_folder)}, log=folder / "log") as piped:
        wait_until(lambda: "ended" in (folder / "log").read_text(encoding="utf-8"), what="its end")
        assert "starting" in piped.lines[0]
    assert descendants(temporary_folder) == []
    assert list(temporary_folder.iterdir()) == []


@pytest.mark.slow
def test_cph_is_real_when_the_file_names_a_project(folder: Path, temporary_folder: Path) -> None:
    settings = ["BRIDGE_CPH_PROJECT_ID=p1", "BRIDGE_CPH_ENDPOINT=http://127.0.0.1:9", "BRIDGE_CPH_TOKEN=hunter2"]
    (folder / "bridge.env").write_text("\n".join(settings), encoding="utf-8")
    (folder / ".dev").write_text("no folder", encoding="utf-8")
    with running(folder, temporary_folder, *ANYWHERE, "--env-file", "bridge.env") as run:
        register = line_with(run, "/v1/registrations")
        assert paste(register)["jobs"] == [{"job_id": "JOB_ID", "state": "pending"}]
        assert "./dev env will not work" in line_with(run, "warning")
        end(run)
    shown = "\n".join(run.lines)
    assert not [word for word in ("stand-in", "STANDIN", "eval", "hunter2") if word in shown]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("BRIDGE_LEASE_S=soon", "bridge.env: BRIDGE_LEASE_S: Input should be a valid number"),
        ("BRIDGE_REDIS_URL=hunter2", "bridge.env, line 1: BRIDGE_REDIS_URL is set by ./dev run"),
        ("BRIDGE_CPH_TOKEN=hunter2", "bridge.env: BRIDGE_CPH_TOKEN needs a CPH project: set BRIDGE_CPH_PROJECT_ID or"),
        ("BRIDGE_CPH_PROJECT_ID=p1\nBRIDGE_CPH_REGION=cn-north-4", "bridge.env: no credentials for CPH: set"),
        ("BRIDGE_PROJECTS_FILE=/nowhere.yaml", "bridge.env: cannot read /nowhere.yaml: No such file or directory"),
    ],
)
def test_a_wrong_setting_is_reported_before_anything_starts(
    folder: Path, temporary_folder: Path, settings: str, message: str
) -> None:
    (folder / "bridge.env").write_text(settings, encoding="utf-8")
    with running(folder, temporary_folder, *ANYWHERE, "--env-file", "bridge.env") as run:
        code, lines = ended(run)
    assert code == 1
    [shown] = lines
    assert message in shown
    assert "hunter2" not in shown
    assert list(temporary_folder.iterdir()) == []


def test_what_fails_later_is_reported_with_its_last_log_lines_and_its_logs_are_kept(
    folder: Path, temporary_folder: Path
) -> None:
    (folder / "bridge.env").write_text("BRIDGE_TENANTS_FILE=/nowhere", encoding="utf-8")
    with running(folder, temporary_folder, *ANYWHERE, "--env-file", "bridge.env") as run:
        code, lines = ended(run)
    shown = "\n".join(lines)
    assert code == 1, shown
    assert "ended with 2. Its last log lines:" in shown
    assert "/nowhere" in shown
    [kept] = temporary_folder.glob("cph-bridge-*")
    assert f"The logs are in {kept}/logs" in shown


def test_a_port_that_is_taken_is_named_with_the_way_out(folder: Path, temporary_folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        with running(folder, temporary_folder, "--bind", bind) as run:
            code, lines = ended(run)
    assert code == 1
    [shown] = lines
    assert "Address already in use" in shown
    assert "choose another address with --bind" in shown
    assert list(temporary_folder.iterdir()) == []
