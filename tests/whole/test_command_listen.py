"""`cph-bridge listen`: events without callbacks, despite cut connections, restarts and failing receivers."""

import json
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.devkit.processes import Process, start, wait_until
from tests.support.commands import CommandRunner, job_ids
from tests.support.terminal import CPH_BRIDGE
from tests.whole.conftest import Deployment

pytestmark = pytest.mark.filterwarnings("ignore:.*forkpty:DeprecationWarning")

SECRET = "whsec_" + "QUJD" * 8


class Listener:
    """`cph-bridge listen` in the background. Its lines are read as they appear."""

    def __init__(self, commands: CommandRunner, *arguments: str, log: Path, url: str | None = None) -> None:
        env = {"BRIDGE_URL": url or commands.deployment.bridge.url, "BRIDGE_KEY": commands.deployment.bridge.key}
        self._log = log
        self.process: Process = start([CPH_BRIDGE, "listen", *arguments], env, log=log)

    def jobs(self) -> list[str]:
        return job_ids([json.loads(line) for line in self.process.lines])

    def wait_for(self, count: int) -> list[str]:
        return wait_until(lambda: len(self.jobs()) >= count and self.jobs(), what=f"{count} events")

    def stderr(self) -> str:
        return self._log.read_text(encoding="utf-8")


@pytest.fixture
def commands_with_events(commands: CommandRunner) -> Iterator[CommandRunner]:
    """The command line of a bridge whose jobs `one` and `two` have ended, in this order."""
    register(commands.deployment, "one", "two")
    commands.end_jobs("one")
    commands.end_jobs("two")
    return commands


def register(deployment: Deployment, *job_ids: str) -> None:
    deployment.bridge.call("POST", "/v1/registrations", {"job_ids": job_ids})


def end(commands: CommandRunner, *job_ids: str) -> None:
    """Registers for jobs and ends them in this order."""
    register(commands.deployment, *job_ids)
    for id in job_ids:
        commands.end_jobs(id)


def test_events_come_as_the_feed_has_them_and_ctrl_c_says_how_to_go_on(commands_with_events: CommandRunner) -> None:
    with commands_with_events.terminal("listen", "--after", "oldest", "--json") as screen:
        for event in commands_with_events.events():
            assert json.dumps(event, ensure_ascii=False, separators=(",", ":")) in screen.wait_for("\n")
        screen.press_ctrl_c()
        code, shown = screen.end()
    assert code == 130
    line = shown.split("To resume: ")[1].strip()
    made = commands_with_events.deployment.bridge.call(
        "POST", "/v1/registrations", {"job_id": "three", "notify": "both", "verify": False}
    )
    commands_with_events.end_jobs("three")
    with commands_with_events.terminal(*line.split()[1:]) as screen:
        shown = screen.wait_for(f"group.finished  {made['id']}  1 total, 1 succeeded")
    assert "job.succeeded  three" in shown
    # Event `two` is shown again if Ctrl-C was pressed before the cursor was advanced past it.
    assert "job.succeeded  one" not in shown


def test_without_a_cursor_only_new_events_come(commands_with_events: CommandRunner, tmp_path: Path) -> None:
    listener = Listener(commands_with_events, "--json", "--state", str(tmp_path / "state"), log=tmp_path / "log")
    with listener.process:
        wait_until((tmp_path / "state").exists, what="its cursor")
        end(commands_with_events, "three")
        assert listener.wait_for(1) == ["three"]


def test_a_stream_that_is_cut_neither_loses_nor_repeats(commands: CommandRunner, tmp_path: Path) -> None:
    with commands.proxy() as proxy:
        listener = Listener(
            commands, "--after", "oldest", "--json", log=tmp_path / "log", url=f"http://127.0.0.1:{proxy.port}"
        )
        with listener.process:
            end(commands, "one")
            listener.wait_for(1)
            proxy.cut()
            end(commands, "two")
            listener.wait_for(2)
            proxy.mode = "refusing"
            end(commands, "three")
            wait_until(lambda: "cannot be reached" in listener.stderr(), what="a line about it")
            proxy.mode = "open"
            end(commands, "four")
            assert listener.wait_for(4) == ["one", "two", "three", "four"]
            wait_until(lambda: "reconnected" in listener.stderr(), what="a line about it")


def test_a_restart_goes_on_where_the_state_file_says(commands_with_events: CommandRunner, tmp_path: Path) -> None:
    arguments = ("--after", "oldest", "--json", "--state", str(tmp_path / "state"))
    first = Listener(commands_with_events, *arguments, log=tmp_path / "log")
    first.wait_for(2)
    at = commands_with_events.deployment.bridge.call("GET", "/v1/events")["next_cursor"]
    wait_until(lambda: (tmp_path / "state").read_text(encoding="utf-8") == at + "\n", what="its cursor")
    assert first.process.kill() == -signal.SIGKILL
    end(commands_with_events, "three")
    second = Listener(commands_with_events, *arguments, log=tmp_path / "log")
    with second.process:
        assert second.wait_for(1) == ["three"]
        at = commands_with_events.deployment.bridge.call("GET", "/v1/events")["next_cursor"]
        wait_until(lambda: (tmp_path / "state").read_text(encoding="utf-8") == at + "\n", what="its cursor")


def test_how_to_go_on_can_be_pasted(commands: CommandRunner, tmp_path: Path) -> None:
    state = tmp_path / "a place"
    with commands.terminal("listen", "--state", str(state)) as screen:
        wait_until(state.exists, what="its cursor")
        screen.press_ctrl_c()
        code, shown = screen.end()
    assert code == 130
    assert f"To resume: cph-bridge listen --state '{state}'" in shown


def test_what_is_forwarded_is_what_a_callback_would_have_been(
    commands_with_events: CommandRunner, tmp_path: Path
) -> None:
    receiver = commands_with_events.deployment.receiver
    receiver.statuses = [(503, {}), (200, {}), (400, {}), (400, {}), (400, {})]
    listener = Listener(
        commands_with_events, "--after", "oldest", "--forward", receiver.url, "--secret", SECRET, log=tmp_path / "log"
    )
    with listener.process:
        end(commands_with_events, "three")
        wait_until(lambda: len(receiver.callbacks) >= 6, what="six attempts")
        wait_until(lambda: len(listener.process.lines) >= 2, what="two accepted events")
    assert Counter(job_ids([callback.event for callback in receiver.callbacks])) == {"one": 2, "two": 3, "three": 1}
    assert all(callback.verified_by(SECRET) for callback in receiver.callbacks)
    assert [callback.headers["bridge-attempt"] for callback in receiver.callbacks] == ["1", "2", "1", "2", "3", "1"]
    stored = {event["id"]: event for event in commands_with_events.events()}
    assert all(callback.event == stored[callback.id] for callback in receiver.callbacks)
    assert [line.split()[1:] for line in listener.process.lines] == [["job.succeeded", "answered", "200"]] * 2
    assert "answered 503, retrying" in listener.stderr()
    assert "answered 400: gave up after 3 attempts" in listener.stderr()


def test_a_receiver_that_is_down_gets_its_events_when_it_is_back(
    commands_with_events: CommandRunner, tmp_path: Path
) -> None:
    receiver = commands_with_events.deployment.receiver
    with commands_with_events.proxy(receiver.url) as proxy:
        proxy.mode = "refusing"
        listener = Listener(
            commands_with_events,
            "--after",
            "oldest",
            "--forward",
            f"http://127.0.0.1:{proxy.port}",
            log=tmp_path / "log",
        )
        with listener.process:
            wait_until(lambda: "retrying" in listener.stderr(), what="a line about it")
            assert listener.process.lines == []
            proxy.mode = "open"
            receiver.wait_for(2)
    assert job_ids([callback.event for callback in receiver.callbacks]) == ["one", "two"]
    assert "webhook-signature" not in receiver.callbacks[0].headers


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--after", "nonsense"), "not a cursor"),
        (("--secret", SECRET), "--forward"),
        (("--forward", "ftp://x"), "--forward: must be a URL such as"),
        (("--forward", "http://x", "--secret", "hunter2-hunter2"), "must start with whsec_"),
        (("--state", "/nowhere/state"), "/nowhere/state cannot be written"),
        (("--state", "/proc/self/mem"), "cannot be read"),
    ],
)
def test_what_cannot_work_is_refused_at_once(commands: CommandRunner, arguments: tuple[str, ...], message: str) -> None:
    refused = commands.here("listen", *arguments)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert message in refused.stderr
    assert "hunter2" not in refused.stderr
