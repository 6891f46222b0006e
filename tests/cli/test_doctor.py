"""`cph-bridge doctor` against a real Redis and the CPH stand-in."""

import json
import re
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.cli.doctor import judge_answer_time, judge_clock, judge_project, judge_redis
from app.cli.main import main
from app.devkit.processes import start
from app.domain.project_health import ProjectHealth
from app.domain.times import to_ms
from app.runtime import Runtime
from app.store import keys
from app.store.project_healths import note

GOOD_REDIS = {"redis_version": "7.2.4", "aof_enabled": 1, "maxmemory_policy": "noeviction"}


@pytest.fixture(scope="module")
def standin() -> Iterator[dict[str, Any]]:
    with start([sys.executable, "-m", "app.devkit.standin"]) as process:
        yield process.announcement()


@pytest.fixture
def healthy(runtime: Runtime, environment: dict[str, str], standin: dict[str, Any]) -> dict[str, str]:
    """Settings with which nothing is wrong."""
    return {
        **environment,
        "BRIDGE_CPH_ENDPOINT": standin["url"],
        "BRIDGE_CPH_PROJECT_ID": standin["project_id"],
        "BRIDGE_CPH_TOKEN": standin["token"],
    }


def doctor(environment: dict[str, str]) -> Result:
    return CliRunner().invoke(main, ["doctor"], env=environment)


def levels(result: Result) -> list[str]:
    return [line.split()[0] for line in result.output.splitlines()]


def test_a_healthy_deployment_is_well(healthy: dict[str, str]) -> None:
    result = doctor(healthy)
    assert result.exit_code == 0, result.output
    assert "FAIL" not in levels(result)
    assert "CPH project default answers" in result.output


def test_what_only_deserves_a_warning_does_not_fail(healthy: dict[str, str]) -> None:
    result = doctor({**healthy, "BRIDGE_SECRET_KEYS": "", "BRIDGE_BOOTSTRAP_KEY": "guess me"})
    assert result.exit_code == 0
    assert "warn secrets lie open in Redis: set BRIDGE_SECRET_KEYS" in result.output
    assert "warn BRIDGE_BOOTSTRAP_KEY can be guessed" in result.output


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"BRIDGE_LEASE_S": "x"}, "BRIDGE_LEASE_S"),
        ({"BRIDGE_REDIS_URL": "unix:///nowhere/redis.sock"}, "Redis cannot be reached"),
        ({"BRIDGE_CPH_TOKEN": "expired"}, "check the credentials"),
        ({"BRIDGE_CPH_TOKEN": ""}, "no credentials for CPH"),
        ({"BRIDGE_CPH_PROJECT_ID": ""}, "set BRIDGE_CPH_PROJECT_ID"),
    ],
)
def test_what_is_wrong_is_named_with_its_remedy(healthy: dict[str, str], wrong: dict[str, str], text: str) -> None:
    result = doctor(healthy | wrong)
    assert result.exit_code == 1
    assert [line for line in result.output.splitlines() if line.startswith("FAIL") and text in line]


def test_cph_is_not_asked_while_its_token_cannot_be_looked_up(healthy: dict[str, str]) -> None:
    login = {f"BRIDGE_IAM_{name}": "x" for name in ("USER", "PASSWORD", "DOMAIN")}
    iam = {"BRIDGE_CPH_TOKEN": "", "BRIDGE_IAM_ENDPOINT": healthy["BRIDGE_CPH_ENDPOINT"], **login}
    result = doctor(healthy | iam | {"BRIDGE_REDIS_URL": "unix:///nowhere/redis.sock"})
    assert "warn CPH project default was not asked: Redis cannot be reached" in " ".join(result.output.split())


def test_secrets_are_not_told(healthy: dict[str, str]) -> None:
    output = doctor({**healthy, "BRIDGE_CPH_TOKEN": "canary-token"}).output
    assert not [secret for secret in ("canary-token", healthy["BRIDGE_BOOTSTRAP_KEY"]) if secret in output]


@pytest.mark.parametrize(
    ("wrong", "level"),
    [
        ({}, "ok"),
        ({"redis_version": "6.2.0"}, "ok"),
        ({"redis_version": "6.0.16"}, "FAIL"),
        ({"aof_enabled": 0}, "warn"),
        ({"maxmemory_policy": "allkeys-lru"}, "FAIL"),
    ],
)
def test_a_redis_that_would_lose_something_is_found(wrong: dict[str, Any], level: str) -> None:
    found = [finding.level for finding in judge_redis(GOOD_REDIS | wrong)]
    assert max(found, key=["ok", "warn", "FAIL"].index) == level


def test_a_slow_redis_and_a_wrong_clock_deserve_a_warning() -> None:
    assert [judge_answer_time(timedelta(milliseconds=ms)).level for ms in (1, 20)] == ["ok", "warn"]
    assert [judge_clock(timedelta(seconds=s)).level for s in (0.1, 2, -2)] == ["ok", "warn", "warn"]


def test_each_project_of_the_file_is_looked_at(healthy: dict[str, str], tmp_path: Path, runtime: Runtime, now) -> None:
    place = {"project_id": healthy["BRIDGE_CPH_PROJECT_ID"], "endpoint": healthy["BRIDGE_CPH_ENDPOINT"]}
    projects = {
        "well": place | {"credentials": {"token_env": "BRIDGE_CPH_TOKEN"}},
        "ill": place | {"credentials": {"token_env": "NOT_SET"}},
    }
    file = tmp_path / "projects.yaml"
    file.write_text(json.dumps({"projects": projects}))
    runtime.scripts.run(note("well", ProjectHealth(failed_at=now, failure="HTTP 403: no")))
    runtime.polls_due.refuse("well", now, timedelta(days=9_999, minutes=1), ())
    output = doctor(healthy | {"BRIDGE_PROJECTS_FILE": str(file)}).output
    assert "ok   CPH project well answers" in output
    assert (
        "warn CPH project well refuses the poll workers, since 2026-01-02 03:04:05 UTC,"
        " next try 2053-05-19 03:05:05 UTC: HTTP 403: no: check their credentials; SIGHUP"
    ) in output
    assert "FAIL CPH project ill cannot be asked: CPH project ill: NOT_SET holds no secret" in output


def test_a_broken_file_of_projects_is_named(healthy: dict[str, str]) -> None:
    assert (
        "FAIL BRIDGE_PROJECTS_FILE: cannot read /nowhere"
        in doctor({**healthy, "BRIDGE_PROJECTS_FILE": "/nowhere"}).output
    )


def test_a_budget_that_is_short_is_named_with_its_remedy(healthy: dict[str, str], runtime: Runtime) -> None:
    late = runtime.clock() - timedelta(minutes=1)
    runtime.redis.zadd(keys.due("poll", "default"), {"job": to_ms(late)})
    runtime.redis.hset(keys.lane("poll", "default"), mapping={"tokens": -1_000, "stamp": to_ms(late)})
    output = doctor(healthy).output
    assert re.search(r"warn CPH project default: polls are 6\d s late: raise BRIDGE_CPH_RATE", output), output


def test_each_project_is_shown_as_poll_workers_see_it(healthy: dict[str, str], runtime: Runtime, now) -> None:
    """Also where doctor itself has no credentials, as beside the API."""
    seen = ProjectHealth(
        answered_at=now, credentials_expire_at=now + timedelta(days=1), clock_ahead=timedelta(seconds=-2)
    )
    runtime.scripts.run(note("default", seen))
    late = runtime.clock() - timedelta(seconds=3)
    runtime.redis.zadd(keys.due("poll", "default"), {"job": to_ms(late)})
    runtime.scripts.run(runtime.polls_due.throttle("default", runtime.clock(), runtime.clock(), 0.5))
    output = doctor(healthy | {"BRIDGE_CPH_TOKEN": ""}).output
    shown = (
        r"ok   CPH project default, as poll workers see it: last answer 2026-01-02 03:04:05 UTC;"
        r" 0\.5\d* calls a second \(taught by CPH's 429s: 0\.5\d*\), \d left; polls \d+ s late;"
        r" credentials end 2026-01-03 03:04:05 UTC; CPH's clock -2 s from ours"
    )
    assert re.search(shown, output), output


def test_a_wrong_clock_at_cph_deserves_a_warning(now) -> None:
    wrong = ProjectHealth(clock_ahead=timedelta(minutes=-20))
    assert [finding.remedy for finding in judge_project("prod", wrong, now)] == [
        "run NTP: CPH's clock and ours are apart"
    ]
