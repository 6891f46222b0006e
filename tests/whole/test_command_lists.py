"""`cph-bridge registrations|deliveries|destinations|doctor` in terminals and pipes, and their error messages."""

import json
import os
import re

import pytest

from app.devkit.processes import wait_until
from tests.support.commands import CommandRunner
from tests.support.scripted_server import serving

pytestmark = pytest.mark.filterwarnings("ignore:.*forkpty:DeprecationWarning")

COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-7]m")


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def state_of_delivery(commands: CommandRunner) -> str:
    """The state of the only delivery."""
    [delivery] = commands.deployment.bridge.call("GET", "/v1/deliveries")["items"]
    return str(delivery["state"])


def test_registrations_are_listed_shown_and_cancelled(commands: CommandRunner) -> None:
    registrations = [commands.deployment.register(f"job-{number}") for number in range(3)]
    ids = [each["id"] for each in reversed(registrations)]
    assert [each["id"] for each in lines(commands.run("registrations", "list", "--json").stdout)] == ids
    assert [
        each["id"] for each in lines(commands.here("registrations", "list", "--json", "--limit", "2").stdout)
    ] == ids[:2]
    assert [
        each["id"] for each in lines(commands.here("registrations", "list", "--json", "--job", "job-1").stdout)
    ] == [ids[1]]
    head, *rows = commands.here("registrations", "list").stdout.splitlines()
    assert head.split()[:4] == ["id", "state", "project", "jobs"]
    assert [row.split()[0] for row in rows] == ids
    assert "1 pending" in rows[0]
    cancelled = commands.run("registrations", "cancel", *ids[:2])
    assert cancelled.stdout.splitlines() == [f"{id} is cancelled" for id in ids[:2]]
    states = lines(commands.here("registrations", "list", "--json", "--state", "cancelled").stdout)
    assert [each["id"] for each in states] == ids[:2]
    assert lines(commands.here("registrations", "show", ids[0], "--json").stdout) == [
        commands.deployment.get_registration({"id": ids[0]})
    ]
    shown = commands.here("registrations", "show", ids[0]).stdout
    assert re.search(r"^state +cancelled$", shown, re.MULTILINE)
    assert re.search(r"^job-2 +pending$", shown, re.MULTILINE)


@pytest.mark.slow
def test_what_is_dead_is_counted_and_sent_once_more(commands: CommandRunner) -> None:
    deployment = commands.deployment
    deployment.start_worker("deliver")
    deployment.receiver.statuses = [(404, {})] * 3
    deployment.register("one")
    commands.end_jobs("one")
    wait_until(lambda: commands.here("deliveries", "list", "--state", "dead", "--json").stdout, what="a death")
    [dead] = lines(commands.here("deliveries", "list", "--json").stdout)
    assert (dead["state"], dead["job_id"]) == ("dead", "one")
    shown = commands.run("deliveries", "show", dead["id"]).stdout
    assert len(re.findall(r"^[123] .* refused +404", shown, re.MULTILINE)) == 3
    redeliver = ("deliveries", "redeliver", "--since", "2h")
    assert commands.here(*redeliver, "--dry-run").stdout == "1 would be redelivered\n"
    assert commands.here(*redeliver, "--until", "1h", "--dry-run", "--json").stdout == '{"count":0}\n'
    assert commands.here("deliveries", "redeliver", "--since", "0001-01-01", "--dry-run", "--json").stdout == (
        '{"count":1}\n'
    )
    assert commands.here(*redeliver, "--destination", "https://elsewhere.example:443", "--dry-run").stdout.startswith(
        "0 "
    )
    assert commands.run(*redeliver).stdout == "1 will be redelivered\n"
    wait_until(lambda: state_of_delivery(commands) == "delivered", what="its arrival")
    assert commands.here("deliveries", "redeliver", dead["id"]).stdout == f"{dead['id']} will be redelivered\n"
    wait_until(lambda: len(deployment.receiver.callbacks) == 5, what="once more")
    assert len(deployment.receiver.ids()) == 1


@pytest.mark.parametrize(
    "arguments", [(), ("dlv_x", "--since", "2h"), ("dlv_x", "--dry-run"), ("--since", "yesterday")]
)
def test_what_to_send_once_more_must_be_specified(commands: CommandRunner, arguments: tuple[str, ...]) -> None:
    assert commands.here("deliveries", "redeliver", *arguments).exit_code == 2


def test_a_destination_is_paused_and_resumed_and_its_deliveries_are_discarded_after_a_question(
    commands: CommandRunner,
) -> None:
    commands.deployment.register("one")
    commands.end_jobs("one")
    [destination] = lines(commands.here("destinations", "list", "--json").stdout)
    assert "paused" in commands.run("destinations", "pause", destination["id"]).stdout
    assert state_of_delivery(commands) == "held"
    with commands.terminal("destinations", "discard", destination["id"]) as screen:
        screen.wait_for("Continue? [y/N]: ")
        screen.type("n")
        assert screen.end()[0] == 1
    with commands.terminal("destinations", "discard", destination["id"]) as screen:
        screen.wait_for("Continue? [y/N]: ")
        screen.type("y")
        screen.wait_for("1 discarded")
        assert screen.end()[0] == 0
    assert lines(commands.here("destinations", "discard", destination["id"], "--yes", "--json").stdout) == [
        {"discarded": 0}
    ]
    assert lines(commands.here("destinations", "resume", destination["id"], "--json").stdout)[0]["state"] == "ok"
    assert re.search(r"^state +ok$", commands.here("destinations", "show", destination["id"]).stdout, re.MULTILINE)


@pytest.mark.parametrize("columns", ["80", "120"])
def test_a_narrow_terminal_cuts_neither_ids_nor_times(commands: CommandRunner, columns: str) -> None:
    registrations = [commands.deployment.register(f"job-{number}") for number in range(2)]
    commands.end_jobs("job-0")
    for arguments in (
        ("registrations", "list"),
        ("deliveries", "list"),
        ("registrations", "show", registrations[0]["id"]),
    ):
        with commands.terminal(*arguments, COLUMNS=columns) as screen:
            code, shown = screen.end()
        assert code == 0
        # The API itself shortens URLs, to `/…`.
        assert not re.search("[^/]\N{HORIZONTAL ELLIPSIS}", shown)
        assert re.search(r"created_at +\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", shown)
    with commands.terminal("registrations", "list", COLUMNS=columns) as screen:
        shown = screen.end()[1]
    assert all(each["id"] in shown for each in registrations)


def test_a_reader_who_has_read_enough_of_a_list_or_a_stream_may_close_the_pipe(commands: CommandRunner) -> None:
    commands.deployment.register(job_ids=["one", "two"])
    commands.end_jobs("one", "two")
    for number in range(4):
        # Longer than the buffer of a pipe.
        commands.deployment.register(job_ids=[f"{number}-{job:032}" for job in range(1_000)])
    piped = commands.shell(
        "cph-bridge registrations list --json | head -c 9; status=${PIPESTATUS[0]}; echo; echo $status"
    )
    assert piped.stderr == ""
    assert piped.stdout.splitlines()[1] == "141"
    piped = commands.shell("cph-bridge listen --after oldest --json | head -n 1; echo ${PIPESTATUS[0]}")
    assert piped.stderr == ""
    assert piped.stdout.splitlines()[1] == "141"


@pytest.mark.parametrize(("env", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_a_terminal_has_colours_unless_it_is_told_not_to(
    commands: CommandRunner, env: dict[str, str], coloured: bool
) -> None:
    with commands.terminal("doctor", BRIDGE_REDIS_URL="unix:///nowhere", **env) as screen:
        code, shown = screen.end()
    assert code == 1
    assert "FAIL" in shown
    assert bool(COLOUR.search(shown)) == coloured


def test_doctor_counts_the_workers_that_rq_knows(commands: CommandRunner) -> None:
    settings = {"BRIDGE_REDIS_URL": commands.deployment.bridge.redis.url}
    worker = commands.deployment.start_worker("deliver")

    def reported(line: str) -> bool:
        return line in commands.here("doctor", **settings).stdout

    wait_until(lambda: reported("ok   1 deliver worker alive, no backlog"), what="a worker")
    assert reported("warn no poll worker is alive: start `cph-bridge worker poll`")
    worker.stop()
    wait_until(lambda: reported("warn no deliver worker is alive"), what="its end")


KEY = "cphb_0123456789ab_canary-canary-canary"


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"BRIDGE_KEY": KEY}, "rejects the key: an admin creates one with `cph-bridge keys create"),
        ({"BRIDGE_KEY": ""}, "no API key was given: an admin creates one"),
        ({"BRIDGE_KEY": KEY + "\nX: y"}, "contains invalid characters"),
        (
            {"BRIDGE_KEY": "", "BRIDGE_KEY_FILE": "/nowhere/key"},
            "/nowhere/key cannot be read: No such file or directory",
        ),
        ({"BRIDGE_KEY": KEY, "BRIDGE_URL": "http://127.0.0.1:9"}, "the API at http://127.0.0.1:9 cannot be reached"),
        ({"BRIDGE_KEY": KEY, "BRIDGE_URL": "http://127.0.0.1:9?a=b"}, "--api, BRIDGE_URL"),
        ({"BRIDGE_KEY": KEY, "BRIDGE_URL": "bridge.example"}, "must be a URL such as https://bridge.example"),
        ({"BRIDGE_KEY": KEY, "BRIDGE_URL": f"http://u:{KEY}@127.0.0.1:9"}, "must not contain a user name or password"),
        ({"BRIDGE_KEY": KEY, "BRIDGE_CA_FILE": "/nowhere/ca"}, "/nowhere/ca cannot be read"),
        ({"BRIDGE_KEY": KEY, "BRIDGE_CA_FILE": "/dev/null"}, "/dev/null cannot be read as PEM"),
    ],
)
def test_an_error_is_one_line_that_says_what_to_do_without_the_key(
    commands: CommandRunner, env: dict[str, str], message: str
) -> None:
    for arguments in (("registrations", "list"), ("listen",)):
        refused = commands.here(*arguments, **env)
        assert refused.exit_code in (1, 2)
        assert refused.stdout == ""
        assert refused.stderr.startswith("Error: ")
        assert refused.stderr.count("\n") == 1
        assert message in refused.stderr
        assert "canary" not in refused.stderr


def test_a_key_may_be_in_a_file(commands: CommandRunner, tmp_path) -> None:
    (tmp_path / "key").write_text(commands.deployment.bridge.key + "\n", encoding="utf-8")
    assert commands.here("registrations", "list", BRIDGE_KEY="", BRIDGE_KEY_FILE=str(tmp_path / "key")).exit_code == 0


def test_a_key_that_is_typed_goes_before_one_of_the_environment(commands: CommandRunner, tmp_path) -> None:
    (tmp_path / "key").write_text(commands.deployment.bridge.key, encoding="utf-8")
    typed = ("registrations", "list", "--key-file", str(tmp_path / "key"))
    assert commands.here(*typed, BRIDGE_KEY=KEY).exit_code == 0
    assert commands.here(*typed, "--key", KEY).exit_code == 2


@pytest.mark.parametrize("limit", ["0", "-1", "x", "9" * 30])
def test_a_limit_that_is_none_is_refused(commands: CommandRunner, limit: str) -> None:
    assert "Invalid value for '--limit'" in commands.here("registrations", "list", "--limit", limit).stderr


def test_what_is_not_there_is_named(commands: CommandRunner) -> None:
    refused = commands.here("registrations", "show", "reg_" + "0" * 26)
    assert refused.exit_code == 2
    assert refused.stderr == f"Error: registrations/reg_{'0' * 26} does not exist, or is not visible with this key\n"
    no_text = os.fsdecode(b"\xff")
    assert "registrations/%FF does not exist" in commands.here("registrations", "show", no_text).stderr
    assert "must be percent-encoded UTF-8" in commands.here("registrations", "list", "--job", no_text).stderr


def test_a_server_that_is_no_bridge_is_reported_as_such_and_cannot_draw_on_the_terminal(
    commands: CommandRunner,
) -> None:
    def answer(status: str, body: bytes):
        def script(peer):
            head = peer.request()
            content = body.replace(b"KEY", re.search(rb"Bearer (\S+)", head)[1])
            peer.send(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(content), content))

        return script

    with serving() as start:
        cases = [
            ("200 OK", b"<html>", "does not answer with JSON"),
            ("404 Not Found", b"<html>", "answers HTTP 404, not as the bridge's API"),
            ("403 Forbidden", b'{"detail": "scope \\u001b[2J KEY"}', "scope  [2J … (the key lacks a scope"),
            ("500 Oops", b'{"detail": "A mistake."}', "failed: A mistake. (see request_id - in its log)"),
            ("503 Later", b'{"detail": "full", "hint": "wait"}', "asks to retry later: full (wait)"),
        ]
        for status, body, message in cases:
            url = start(answer(status, body)).url
            refused = commands.here("registrations", "list", BRIDGE_URL=url)
            assert message in refused.stderr
            assert refused.stderr.count("\n") == 1
            assert "\x1b" not in refused.stderr
            assert commands.deployment.bridge.key not in refused.stderr


def test_a_shell_completes_commands(commands: CommandRunner) -> None:
    completion = {"_CPH_BRIDGE_COMPLETE": "bash_complete", "COMP_WORDS": "cph-bridge de", "COMP_CWORD": "1"}
    assert commands.run(**completion).stdout.split() == ["plain,deliveries", "plain,destinations"]
