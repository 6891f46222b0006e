"""`cph-bridge watch` in terminals and in scripts, and its behaviour on errors."""

import json
import os
import signal

import pytest

from app.devkit.processes import PATIENCE_S
from app.domain.job import JobState
from tests.support.commands import CommandRunner

pytestmark = pytest.mark.filterwarnings("ignore:.*forkpty:DeprecationWarning")


@pytest.mark.slow
def test_jobs_of_real_workers_are_shown_until_their_end(commands: CommandRunner) -> None:
    deployment = commands.deployment
    deployment.start_worker("poll")
    deployment.standin.call("POST", "/_standin/jobs", [{"request_id": "request-1", "duration_s": 0}] * 2)
    request_watch = commands.start("watch", "--request", "request-1")
    good, bad = deployment.job(duration_s=3600), deployment.job(duration_s=3600)
    with commands.terminal("watch", good, bad) as screen:
        screen.wait_for("0 of 2 ended: 2 pending")
        deployment.job(job_id=good)
        deployment.job(job_id=bad, outcome="failed", error_code="CPS.0005", error_msg="no 手机")
        code, shown = screen.end()
    assert code == 1
    assert "CPS.0005: no 手机" in shown
    assert "2 of 2 ended: 1 failed, 1 succeeded" in shown
    lost = commands.run("watch", "nobody-knows-me", good, "--json")
    *jobs, result = map(json.loads, lost.stdout.splitlines())
    assert (lost.returncode, lost.stderr) == (1, "")
    assert [(job["job_id"], job["state"]) for job in jobs[-1:]] == [("nobody-knows-me", "lost")]
    assert result["jobs"] == {"lost": 1, "succeeded": 1}
    out, errors = request_watch.communicate(timeout=PATIENCE_S)
    assert (request_watch.returncode, errors) == (0, "")
    assert out.splitlines()[-1] == "2 of 2 ended: 2 succeeded"


def test_a_script_gets_a_line_for_each_change_and_zero_when_all_succeeded(commands: CommandRunner) -> None:
    command = commands.start("watch", "one", "two", "one")
    assert command.stdout
    before = [command.stdout.readline().split("  ")[:2] for _ in range(2)]
    assert before == [["one", "pending"], ["two", "pending"]]
    commands.end_jobs("one", "two", phone_id="phone-1")
    out, errors = command.communicate(timeout=PATIENCE_S)
    assert (command.returncode, errors) == (0, "")
    *jobs, result = (line.split("  ") for line in out.splitlines())
    assert sorted((line[0], line[1], line[3]) for line in jobs) == [
        ("one", "succeeded", "phone-1"),
        ("two", "succeeded", "phone-1"),
    ]
    assert result == ["2 of 2 ended: 2 succeeded"]


def test_ctrl_c_cancels_and_says_how_to_go_on(commands: CommandRunner) -> None:
    with commands.terminal("watch", "one", "two") as screen:
        screen.wait_for("0 of 2 ended")
        screen.press_ctrl_c()
        code, shown = screen.end()
    assert code == 130
    [made] = commands.registered()
    assert made["state"] == "cancelled"
    assert f"interrupted; {made['id']} is cancelled. To resume: cph-bridge watch one two" in shown
    assert "Traceback" not in shown


def test_what_is_kept_can_be_watched_further(commands: CommandRunner) -> None:
    with commands.terminal("watch", "one", "--keep") as screen:
        screen.wait_for("0 of 1 ended")
        screen.press_ctrl_c()
        screen.wait_for("To resume: ")
        line = screen.wait_for("\n").strip()
        assert screen.end()[0] == 130
    [made] = commands.registered()
    assert made["state"] == "watching"
    assert line == f"cph-bridge watch --registration {made['id']}"
    commands.end_jobs("one")
    again = commands.shell(line)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.splitlines()[-1] == "1 of 1 ended: 1 succeeded"


def test_a_time_out_is_124_and_cancels(commands: CommandRunner) -> None:
    done = commands.run("watch", "one", "--timeout", "1s")
    assert done.returncode == 124
    assert "timed out; " in done.stderr
    assert commands.registered()[0]["state"] == "cancelled"


def test_a_job_runner_that_gives_up_leaves_nothing_behind(commands: CommandRunner) -> None:
    command = commands.start("watch", "one")
    commands.registered()
    assert command.stdout
    command.stdout.readline()
    os.kill(command.pid, signal.SIGTERM)
    assert command.communicate(timeout=PATIENCE_S)[1].startswith("interrupted; ")
    assert command.returncode == 130
    assert commands.registered()[0]["state"] == "cancelled"


def test_a_registration_that_another_cancels_ends_the_watch(commands: CommandRunner) -> None:
    command = commands.start("watch", "one")
    [made] = commands.registered()
    assert commands.run("registrations", "cancel", made["id"]).stdout == f"{made['id']} is cancelled\n"
    assert "was cancelled" in command.communicate(timeout=PATIENCE_S)[1]
    assert command.returncode == 1


def test_an_api_that_is_unavailable_for_a_while_is_waited_for(commands: CommandRunner) -> None:
    with (
        commands.proxy() as proxy,
        commands.terminal("watch", "one", BRIDGE_URL=f"http://127.0.0.1:{proxy.port}") as screen,
    ):
        screen.wait_for("0 of 1 ended")
        proxy.mode = "refusing"
        screen.wait_for("cannot be reached")
        commands.end_jobs("one", state=JobState.FAILED, error_msg="no such phone")
        proxy.mode = "open"
        code, shown = screen.end()
    assert code == 1
    assert "no such phone" in shown


def test_an_api_that_is_down_is_no_failed_job(commands: CommandRunner) -> None:
    refused = commands.run("watch", "one", BRIDGE_URL="http://127.0.0.1:9")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("Error: the API at http://127.0.0.1:9 cannot be reached (connection refused)")
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [(), ("one", "--request", "r"), ("--registration", "reg_x", "one"), ("one", "--timeout", "soon")],
)
def test_what_cannot_be_meant_is_refused(commands: CommandRunner, arguments: tuple[str, ...]) -> None:
    refused = commands.here("watch", *arguments)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert commands.deployment.bridge.call("GET", "/v1/registrations")["items"] == []
