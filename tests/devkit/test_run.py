"""`run` as it is run: a process of its own, whose curl line is pasted into a shell."""

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
def place(tmp_path: Path) -> Path:
    """The folder that it is started in."""
    return tmp_path


@pytest.fixture
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its TMPDIR."""
    return tmp_path_factory.mktemp("t")


def paste(curl: str) -> dict[str, Any]:
    pasted = subprocess.run(["sh", "-c", curl], capture_output=True, check=True, timeout=20)
    answer: dict[str, Any] = json.loads(pasted.stdout)
    return answer


@pytest.mark.slow
def test_the_lines_that_it_prints_work_and_ctrl_c_leaves_nothing(place: Path, temporary: Path) -> None:
    with running(place, temporary, *ANYWHERE) as run:
        more, register = line_with(run, "/_standin/jobs"), line_with(run, "/v1/registrations")
        line_with(run, "Ctrl-C ends")
        [file] = (place / ".dev").iterdir()
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
        assert descendants(temporary)
        end(run)
        assert descendants(temporary) == []
    assert list(temporary.iterdir()) == list((place / ".dev").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_a_signal_while_it_starts_leaves_nothing_either(place: Path, temporary: Path, number: signal.Signals) -> None:
    with running(place, temporary, *ANYWHERE) as run:
        line_with(run, "starting")
        os.kill(run.pid, number)
        assert ended(run)[0] == 130
        assert descendants(temporary) == []
    assert list(temporary.iterdir()) == []


@pytest.mark.slow
def test_without_bind_it_takes_port_8080_or_says_that_it_is_taken(place: Path, temporary: Path) -> None:
    with socket.socket() as other:
        with suppress(OSError):  # whoever has it
            other.bind(("127.0.0.1", 8080))
            other.listen()
        with running(place, temporary) as run:
            line_with(run, "port 8080 is taken")
            assert not exported(run, "BRIDGE_URL").endswith(":8080")
            end(run)
    with running(place, temporary) as run:
        free = exported(run, "BRIDGE_URL") == "http://127.0.0.1:8080"
        assert free != any("is taken" in line for line in run.lines)
        end(run)


@pytest.mark.slow
def test_two_that_start_at_the_same_time_do_not_want_the_same_port(place: Path, temporary: Path) -> None:
    with running(place, temporary) as one, running(place, temporary) as other:
        assert exported(one, "BRIDGE_URL") != exported(other, "BRIDGE_URL")
        end(one)
        end(other)


def test_its_port_is_its_own_from_the_first_line_on(place: Path, temporary: Path) -> None:
    """At an address where nobody else takes ports."""
    with socket.create_server((f"127.{os.getpid() % 200 + 1}.0.1", 0)) as free:
        host, port = free.getsockname()
    with running(place, temporary, "--bind", f"{host}:{port}") as run:
        line_with(run, "starting")
        with pytest.raises(OSError, match="in use"):
            socket.create_server((host, port)).close()


def test_whoever_reads_no_more_leaves_nothing_behind(place: Path, temporary: Path) -> None:
    command = f"cd {shlex.quote(str(place))} && {{ {shlex.join([*RUN, *ANYWHERE])}; echo ended >&2; }} | head -1"
    with start(["sh", "-c", command], {"TMPDIR": str(temporary)}, log=place / "log") as piped:
        wait_until(lambda: "ended" in (place / "log").read_text(encoding="utf-8"), what="its end")
        assert "starting" in piped.lines[0]
    assert descendants(temporary) == []
    assert list(temporary.iterdir()) == []


@pytest.mark.slow
def test_cph_is_real_when_the_file_names_a_project(place: Path, temporary: Path) -> None:
    settings = ["BRIDGE_CPH_PROJECT_ID=p1", "BRIDGE_CPH_ENDPOINT=http://127.0.0.1:9", "BRIDGE_CPH_TOKEN=hunter2"]
    (place / "bridge.env").write_text("\n".join(settings), encoding="utf-8")
    (place / ".dev").write_text("no folder", encoding="utf-8")
    with running(place, temporary, *ANYWHERE, "--env-file", "bridge.env") as run:
        register = line_with(run, "/v1/registrations")
        assert paste(register)["jobs"] == [{"job_id": "JOB_ID", "state": "pending"}]
        assert "./dev env will not work" in line_with(run, "warning")
        end(run)
    shown = "\n".join(run.lines)
    assert not [word for word in ("stand-in", "STANDIN", "eval", "hunter2") if word in shown]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("BRIDGE_LEASE_S=soon", "bridge.env: BRIDGE_LEASE_S: Input should be a valid number"),
        ("BRIDGE_REDIS_URL=hunter2", "bridge.env, line 1: BRIDGE_REDIS_URL is chosen by ./dev run itself"),
        ("BRIDGE_CPH_TOKEN=hunter2", "bridge.env: BRIDGE_CPH_TOKEN needs a CPH project: set BRIDGE_CPH_PROJECT_ID or"),
    ],
)
def test_a_wrong_setting_is_told_before_anything_starts(
    place: Path, temporary: Path, settings: str, words: str
) -> None:
    (place / "bridge.env").write_text(settings, encoding="utf-8")
    with running(place, temporary, *ANYWHERE, "--env-file", "bridge.env") as run:
        code, lines = ended(run)
    assert code == 1
    [shown] = lines
    assert words in shown
    assert "hunter2" not in shown
    assert list(temporary.iterdir()) == []


def test_what_fails_later_is_told_in_its_last_words_and_its_logs_are_kept(place: Path, temporary: Path) -> None:
    (place / "bridge.env").write_text("BRIDGE_TENANTS_FILE=/nowhere", encoding="utf-8")
    with running(place, temporary, *ANYWHERE, "--env-file", "bridge.env") as run:
        code, lines = ended(run)
    shown = "\n".join(lines)
    assert code == 1, shown
    assert "ended with 2. Its last words:" in shown
    assert "/nowhere" in shown
    [kept] = temporary.glob("cph-bridge-*")
    assert f"The logs are in {kept}/logs" in shown


def test_a_port_that_is_taken_is_named_with_the_way_out(place: Path, temporary: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        with running(place, temporary, "--bind", bind) as run:
            code, lines = ended(run)
    assert code == 1
    [shown] = lines
    assert "Address already in use" in shown
    assert "choose another address with --bind" in shown
    assert list(temporary.iterdir()) == []
