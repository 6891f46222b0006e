"""`cph-bridge listen`: events where no callback can get in, past cuts, restarts and receivers that fail."""

import json
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.devkit.processes import Process, start, wait_until
from tests.support.commands import CommandRunner, job_ids
from tests.support.terminal import CPH_BRIDGE
from tests.whole.conftest import Whole

pytestmark = pytest.mark.filterwarnings("ignore:.*forkpty:DeprecationWarning")

SECRET = "whsec_" + "QUJD" * 8


class Listener:
    """A `listen` in the background, whose lines are read as they come."""

    def __init__(self, commands: CommandRunner, *arguments: str, log: Path, url: str | None = None) -> None:
        env = {"BRIDGE_URL": url or commands.whole.bridge.url, "BRIDGE_KEY": commands.whole.bridge.key}
        self._log = log
        self.process: Process = start([CPH_BRIDGE, "listen", *arguments], env, log=log)

    def jobs(self) -> list[str]:
        return job_ids([json.loads(line) for line in self.process.lines])

    def wait_for(self, count: int) -> list[str]:
        return wait_until(lambda: len(self.jobs()) >= count and self.jobs(), what=f"{count} events")

    def complained(self) -> str:
        return self._log.read_text(encoding="utf-8")


@pytest.fixture
def ended(commands: CommandRunner) -> Iterator[CommandRunner]:
    """Jobs `one` and `two` have ended, in this order."""
    register(commands.whole, "one", "two")
    commands.end_jobs("one")
    commands.end_jobs("two")
    return commands


def register(whole: Whole, *job_ids: str) -> None:
    whole.bridge.call("POST", "/v1/registrations", {"job_ids": job_ids})


def end(commands: CommandRunner, *job_ids: str) -> None:
    register(commands.whole, *job_ids)
    for id in job_ids:
        commands.end_jobs(id)


def test_events_come_as_the_feed_has_them_and_ctrl_c_says_how_to_go_on(ended: CommandRunner) -> None:
    with ended.terminal("listen", "--after", "oldest", "--json") as screen:
        for event in ended.events():
            assert json.dumps(event, ensure_ascii=False, separators=(",", ":")) in screen.wait_for("\n")
        screen.press_ctrl_c()
        code, shown = screen.end()
    assert code == 130
    line = shown.split("To go on: ")[1].strip()
    made = ended.whole.bridge.call("POST", "/v1/registrations", {"job_id": "three", "notify": "both", "verify": False})
    ended.end_jobs("three")
    with ended.terminal(*line.split()[1:]) as screen:
        shown = screen.wait_for(f"group.finished  {made['id']}  1 total, 1 succeeded")
    assert "job.succeeded  three" in shown
    # The last one comes again if Ctrl-C was pressed before it was noted that it had been shown.
    assert "job.succeeded  one" not in shown


def test_without_a_place_only_what_is_new_comes(ended: CommandRunner, tmp_path: Path) -> None:
    listener = Listener(ended, "--json", "--state", str(tmp_path / "state"), log=tmp_path / "log")
    with listener.process:
        wait_until((tmp_path / "state").exists, what="its place")
        end(ended, "three")
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
            proxy.mood = "refusing"
            end(commands, "three")
            wait_until(lambda: "cannot be reached" in listener.complained(), what="a word about it")
            proxy.mood = "open"
            end(commands, "four")
            assert listener.wait_for(4) == ["one", "two", "three", "four"]
            wait_until(lambda: "connected again" in listener.complained(), what="a word about it")


def test_a_restart_goes_on_where_the_state_file_says(ended: CommandRunner, tmp_path: Path) -> None:
    arguments = ("--after", "oldest", "--json", "--state", str(tmp_path / "state"))
    first = Listener(ended, *arguments, log=tmp_path / "log")
    first.wait_for(2)
    at = ended.whole.bridge.call("GET", "/v1/events")["next_cursor"]
    wait_until(lambda: (tmp_path / "state").read_text(encoding="utf-8") == at + "\n", what="its place")
    assert first.process.kill() == -signal.SIGKILL
    end(ended, "three")
    second = Listener(ended, *arguments, log=tmp_path / "log")
    with second.process:
        assert second.wait_for(1) == ["three"]
        at = ended.whole.bridge.call("GET", "/v1/events")["next_cursor"]
        wait_until(lambda: (tmp_path / "state").read_text(encoding="utf-8") == at + "\n", what="its place")


def test_how_to_go_on_can_be_pasted(commands: CommandRunner, tmp_path: Path) -> None:
    state = tmp_path / "a place"
    with commands.terminal("listen", "--state", str(state)) as screen:
        wait_until(state.exists, what="its place")
        screen.press_ctrl_c()
        code, shown = screen.end()
    assert code == 130
    assert f"To go on: cph-bridge listen --state '{state}'" in shown


def test_what_is_forwarded_is_what_a_callback_would_have_been(ended: CommandRunner, tmp_path: Path) -> None:
    receiver = ended.whole.receiver
    receiver.statuses = [(503, {}), (200, {}), (400, {}), (400, {}), (400, {})]
    listener = Listener(ended, "--after", "oldest", "--forward", receiver.url, "--secret", SECRET, log=tmp_path / "log")
    with listener.process:
        end(ended, "three")
        wait_until(lambda: len(receiver.callbacks) >= 6, what="six tries")
        wait_until(lambda: len(listener.process.lines) >= 2, what="two that were taken")
    assert Counter(job_ids([callback.event for callback in receiver.callbacks])) == {"one": 2, "two": 3, "three": 1}
    assert all(callback.verified_by(SECRET) for callback in receiver.callbacks)
    assert [callback.headers["bridge-attempt"] for callback in receiver.callbacks] == ["1", "2", "1", "2", "3", "1"]
    stored = {event["id"]: event for event in ended.events()}
    assert all(callback.event == stored[callback.id] for callback in receiver.callbacks)
    assert [line.split()[1:] for line in listener.process.lines] == [["job.succeeded", "answered", "200"]] * 2
    assert "answered 503, trying again" in listener.complained()
    assert "answered 400 3 times: given up" in listener.complained()


def test_a_receiver_that_is_down_gets_its_events_when_it_is_back(ended: CommandRunner, tmp_path: Path) -> None:
    receiver = ended.whole.receiver
    with ended.proxy(receiver.url) as proxy:
        proxy.mood = "refusing"
        listener = Listener(
            ended, "--after", "oldest", "--forward", f"http://127.0.0.1:{proxy.port}", log=tmp_path / "log"
        )
        with listener.process:
            wait_until(lambda: "trying again" in listener.complained(), what="a word about it")
            assert listener.process.lines == []
            proxy.mood = "open"
            receiver.wait_for(2)
    assert job_ids([callback.event for callback in receiver.callbacks]) == ["one", "two"]
    assert "webhook-signature" not in receiver.callbacks[0].headers


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--after", "nonsense"), "not a cursor"),
        (("--secret", SECRET), "--forward"),
        (("--forward", "ftp://x"), "--forward: is not one such as"),
        (("--forward", "http://x", "--secret", "hunter2-hunter2"), "must start with whsec_"),
        (("--state", "/nowhere/state"), "/nowhere/state cannot be written"),
        (("--state", "/proc/self/mem"), "cannot be read"),
    ],
)
def test_what_cannot_work_is_refused_at_once(commands: CommandRunner, arguments: tuple[str, ...], words: str) -> None:
    refused = commands.here("listen", *arguments)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert words in refused.stderr
    assert "hunter2" not in refused.stderr
