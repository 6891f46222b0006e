"""The command line: API keys, commands that start other programs, and how invalid input is refused."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.cli.main import main
from app.config.settings import load
from app.devkit.processes import PATIENCE_S, start, wait_until
from app.domain.access import Principal, Scope
from app.version import VERSION
from tests.support.paths import ROOT

CPH_BRIDGE = Path(sys.executable).with_name("cph-bridge")


def run(environment: dict[str, str], *arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, env=environment)


def test_the_readme_calls_commands_as_they_are() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = text.split("## A command line")[1].split("```sh\n")[1].split("```")[0]
    block = block.replace("$CALLBACK_SECRET", "whsec_" + "A" * 32)
    calls = [shlex.split(line)[1:] for line in block.splitlines() if line.startswith("cph-bridge ")]
    assert len(calls) >= 7
    for call in calls:
        command, context, rest = main, click.Context(main), call
        while isinstance(command, click.Group):
            name, *rest = rest
            command = command.get_command(context, name)
            assert command, name
        command.make_context(name, rest)  # raises for what it would refuse


def test_the_version_is_printed() -> None:
    assert run({}, "--version").output == f"cph-bridge, version {VERSION}\n"


def test_a_key_has_every_scope_but_admin(stores: Stores, environment: dict[str, str]) -> None:
    key = run(environment, "keys", "create", "--tenant", "acme").output
    assert key.count("\n") == 1
    assert stores.api_keys.principal(key.strip()) == Principal("acme", frozenset(Scope) - {Scope.ADMIN})


def test_a_key_has_the_scopes_that_were_named(stores: Stores, environment: dict[str, str]) -> None:
    scopes = ("--scope", "registrations:read", "--scope", "admin")
    key = run(environment, "keys", "create", "--tenant", "acme", *scopes).output.strip()
    assert stores.api_keys.principal(key) == Principal("acme", frozenset({Scope.REGISTRATIONS_READ, Scope.ADMIN}))


@pytest.mark.parametrize(("expires_in", "seconds"), [("30d", 2_592_000), ("12h", 43_200), ("45m", 2_700), ("90s", 90)])
def test_a_key_expires_after_the_given_time(
    stores: Stores, environment: dict[str, str], expires_in: str, seconds: int
) -> None:
    run(environment, "keys", "create", "--tenant", "acme", "--expires-in", expires_in)
    [name] = stores.redis.keys("cph:key:*")
    left = int(stores.redis.hget(name, "expires")) / 1000 - stores.clock().timestamp()
    assert seconds - 60 < left < seconds + 1  # each process measures the clock a little differently


@pytest.mark.parametrize(
    "arguments",
    [
        ("--tenant", "a:b"),
        ("--tenant", "a|b"),
        ("--tenant", ""),
        ("--tenant", "x" * 65),
        ("--tenant", "acme", "--scope", "all"),
        ("--tenant", "acme", "--expires-in", "0s"),
        ("--tenant", "acme", "--expires-in", "1 week"),
        (),
    ],
)
def test_a_key_that_cannot_be_made_is_refused(environment: dict[str, str], arguments: tuple[str, ...]) -> None:
    refused = run(environment, "keys", "create", *arguments)
    assert refused.exit_code == 2
    assert refused.stdout == ""


def test_a_fresh_secret_key_is_one_that_the_settings_take() -> None:
    made = run({}, "secret-key").output.strip()
    assert load({"BRIDGE_SECRET_KEYS": made}).secret_keys
    assert made != run({}, "secret-key").output.strip()


def test_a_wrong_setting_is_one_line_on_stderr(environment: dict[str, str]) -> None:
    refused = run({**environment, "BRIDGE_LEASE_S": "x"}, "keys", "create", "--tenant", "acme")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr.startswith("Error: BRIDGE_LEASE_S: ")
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [("api",), ("worker", "poll")])
def test_a_wrong_setting_ends_a_service_with_a_line_in_its_log(
    environment: dict[str, str], arguments: tuple[str, ...]
) -> None:
    wrong = {**environment, "BRIDGE_LEASE_S": "x"}
    ended = subprocess.run(
        [CPH_BRIDGE, *arguments], env=wrong, capture_output=True, encoding="utf-8", check=False, timeout=60
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    line = json.loads(ended.stderr)
    assert (line["event"], line["level"]) == ("settings.wrong", "critical")
    assert line["reason"].startswith("BRIDGE_LEASE_S: ")


def test_an_unavailable_redis_is_one_line_on_stderr(environment: dict[str, str]) -> None:
    unavailable = {**environment, "BRIDGE_REDIS_URL": "unix:///nowhere/redis.sock"}
    refused = run(unavailable, "keys", "create", "--tenant", "acme")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr.startswith("Error: Redis cannot be reached")


def test_a_worker_has_a_kind() -> None:
    assert run({}, "worker", "all").exit_code == 2


@pytest.mark.parametrize("program", ["standin", "inbox"])
def test_a_program_for_trials_runs_in_place_of_the_command(program: str) -> None:
    with start([CPH_BRIDGE, program, "--bind", "127.0.0.1:0"]) as process:
        assert process.announcement()["url"].startswith("http://127.0.0.1:")
        assert f"app.devkit.{program}".encode() in Path(f"/proc/{process.pid}/cmdline").read_bytes()
        assert process.stop(PATIENCE_S) == 0


def test_help_of_a_program_for_trials_is_its_own() -> None:
    shown = subprocess.run([CPH_BRIDGE, "inbox", "--help"], capture_output=True, encoding="utf-8", check=True)
    assert "--secret" in shown.stdout


def test_a_probe_address_that_is_taken_ends_the_api(environment: dict[str, str], tmp_path: Path) -> None:
    log = tmp_path / "stderr"
    process = start([CPH_BRIDGE, "api"], {**environment, "BRIDGE_PROBE_BIND": "203.0.113.1:1"}, log=log)
    assert wait_until(lambda: process.exit_code, what="its end") == 2
    process.kill()
    assert "BRIDGE_PROBE_BIND" in log.read_text(encoding="utf-8")


def test_keys_are_listed_without_the_keys(runtime: Runtime, environment: dict[str, str]) -> None:
    options = ("--name", "the bot", "--expires-in", "1h")
    key = run(environment, "keys", "create", "--tenant", "acme", *options).output.strip()
    run(environment, "keys", "create", "--tenant", "other")
    listed = run(environment, "keys", "list", "--tenant", "acme").output
    [[id, scopes, made, ends, used, name]] = [line.split("\t") for line in listed.splitlines()]
    assert (id, scopes) == (key.split("_")[1], "deliveries:write,registrations:read,registrations:write")
    assert (used, name) == ("-", "the bot")
    assert made < ends
    assert key not in listed


def test_a_rotated_key_is_printed_and_the_earlier_one_ends(stores: Stores, environment: dict[str, str]) -> None:
    old = run(environment, "keys", "create", "--tenant", "acme", "--scope", "admin").output.strip()
    new = run(environment, "keys", "rotate", old.split("_")[1], "--overlap", "90s").output.strip()
    assert stores.api_keys.principal(new) == stores.api_keys.principal(old) == Principal("acme", {Scope.ADMIN})
    ends = int(stores.redis.hget(f"cph:key:{old.split('_')[1]}", "expires")) / 1000
    assert 0 < ends - stores.clock().timestamp() <= 90
    assert run(environment, "keys", "rotate", "000000000000").exit_code == 1


@pytest.mark.parametrize("command", ["rotate", "revoke"])
def test_an_id_that_no_key_has_is_refused(environment: dict[str, str], command: str) -> None:
    assert run(environment, "keys", command, os.fsdecode(b"\xff")).exit_code == 2


@pytest.mark.parametrize("name", ["a\nb", "x" * 101, "\x1b[2J"])
def test_a_name_is_one_line(environment: dict[str, str], name: str) -> None:
    assert run(environment, "keys", "create", "--tenant", "acme", "--name", name).exit_code == 2
