"""`run` as it is run: a process of its own, whose curl line is pasted into a shell."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

from app.devkit.processes import Process, start, wait_until

RUN = [sys.executable, "-m", "app.devkit.run"]


def line_with(run: Process, text: str) -> str:
    def found() -> str:
        assert run.exit_code is None, run.lines
        return next((line for line in run.lines if text in line), "")

    return wait_until(found, timeout=60, what=f"a line with {text}")


def descendants(folder: Path) -> list[str]:
    """Whatever has inherited this TMPDIR and still runs."""
    mark = f"TMPDIR={folder}\0".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes() + b"\0":
                found.append((process / "cmdline").read_text(encoding="utf-8"))
        except OSError:
            continue
    return found


def end(run: Process) -> None:
    os.kill(run.pid, signal.SIGINT)
    wait_until(lambda: run.exit_code is not None, timeout=30, what="its end")
    assert run.exit_code == 0


def paste(curl: str) -> dict[str, Any]:
    pasted = subprocess.run(["sh", "-c", curl], capture_output=True, check=True, timeout=20)
    answer: dict[str, Any] = json.loads(pasted.stdout)
    return answer


@pytest.mark.slow
def test_the_curl_lines_work_and_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    with start(RUN, {"TMPDIR": str(tmp_path)}) as run:
        more, register = line_with(run, "/_standin/jobs"), line_with(run, "/v1/registrations")
        offered = paste(register)["jobs"][0]["job_id"]
        job = paste(more.replace('"duration_s": 10', '"duration_s": 0'))["jobs"][0]["job_id"]
        registration = paste(register.replace(offered, job))
        line_with(run, f"{job} job.succeeded, signature verified")
        line_with(run, f"delivered  {registration['id']}")
        metrics = line_with(run, "metrics ").split()[1]
        assert requests.get(metrics, timeout=10).headers["content-type"].startswith("text/plain; version=")
        assert descendants(tmp_path)
        end(run)
        assert descendants(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_signal_while_it_starts_leaves_nothing_either(tmp_path: Path) -> None:
    with start(RUN, {"TMPDIR": str(tmp_path)}) as run:
        line_with(run, "starting")
        os.kill(run.pid, signal.SIGTERM)
        wait_until(lambda: run.exit_code is not None, timeout=30, what="its end")
        assert run.exit_code == 130
        assert descendants(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_cph_is_real_when_it_is_set(tmp_path: Path) -> None:
    cph = {"BRIDGE_CPH_PROJECT_ID": "p1", "BRIDGE_CPH_ENDPOINT": "http://127.0.0.1:9", "BRIDGE_CPH_TOKEN": "t"}
    with start(RUN, {"TMPDIR": str(tmp_path), **cph}) as run:
        assert '"job_id": "JOB_ID"' in line_with(run, "/v1/registrations")
        assert not any("stand-in" in line for line in run.lines)
        end(run)


def test_a_port_that_is_taken_is_named_with_the_way_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        with start([*RUN, "--bind", bind], {"TMPDIR": str(tmp_path)}) as run:
            wait_until(lambda: run.exit_code is not None, timeout=30, what="its end")
            assert run.kill() == 1
    (shown,) = run.lines
    assert "Address already in use" in shown
    assert "choose another address with --bind" in shown
    assert list(tmp_path.iterdir()) == []
