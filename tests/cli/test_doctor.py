"""`cph-bridge doctor` against a real Redis and the CPH stand-in."""

import json
import re
import socket
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from redis import Redis

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.cli.doctor import (
    FIELDS,
    Finding,
    Level,
    judge_backlog,
    judge_clock,
    judge_latency,
    judge_project,
    judge_redis,
    judge_replicas,
)
from app.cli.main import main
from app.devkit.processes import start, wait_until
from app.domain.project_health import ProjectHealth
from app.domain.times import rfc3339, to_ms
from app.store.engine import keys
from app.store.engine.scripts import ScriptCall
from app.store.project_health import set_project_health
from tests.support.claims import put_due
from tests.support.redis_group import CLIENTS, PASSWORD, USER, RedisGroup
from tests.support.unfit_redis import UNFIT, Unfit

GOOD_REDIS = {
    "redis_version": "7.2.4",
    "aof_enabled": 1,
    "aof_last_write_status": "ok",
    "maxmemory_policy": "noeviction",
    "used_memory": 100,
    "maxmemory": 1_000,
}


@pytest.fixture(scope="module")
def standin() -> Iterator[dict[str, Any]]:
    with start([sys.executable, "-m", "app.devkit.standin"]) as process:
        yield process.announcement()


@pytest.fixture
def healthy_environment(runtime: Runtime, environment: dict[str, str], standin: dict[str, Any]) -> dict[str, str]:
    """Environment of a deployment without problems."""
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


def test_a_healthy_deployment_is_well(healthy_environment: dict[str, str]) -> None:
    result = doctor(healthy_environment)
    assert result.exit_code == 0, result.output
    assert "FAIL" not in levels(result)
    assert "CPH project default answers" in result.output


def test_what_only_deserves_a_warning_does_not_fail(healthy_environment: dict[str, str]) -> None:
    result = doctor({**healthy_environment, "BRIDGE_SECRET_KEYS": "", "BRIDGE_BOOTSTRAP_KEY": "guess me"})
    assert result.exit_code == 0
    assert "warn secrets are not encrypted in Redis: set BRIDGE_SECRET_KEYS" in result.output
    assert "warn BRIDGE_BOOTSTRAP_KEY can be guessed" in result.output


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"BRIDGE_LEASE_S": "x"}, "BRIDGE_LEASE_S"),
        ({"BRIDGE_REDIS_URL": "unix:///nowhere/redis.sock"}, "Redis cannot be reached"),
        ({"BRIDGE_REDIS_URL": "redis://127.0.0.1:9/0"}, "Connection refused"),
        ({"BRIDGE_REDIS_URL": "redis.example:6379"}, "BRIDGE_REDIS_URL: must be redis://"),
        ({"BRIDGE_REDIS_URL": "redis://127.0.0.1/0?nonsense=1"}, "BRIDGE_REDIS_URL: an option"),
        ({"BRIDGE_CPH_TOKEN": "expired"}, "check the credentials"),
        ({"BRIDGE_CPH_TOKEN": ""}, "no credentials for CPH"),
        ({"BRIDGE_CPH_PROJECT_ID": ""}, "set BRIDGE_CPH_PROJECT_ID"),
    ],
)
def test_what_is_wrong_is_named_with_its_remedy(
    healthy_environment: dict[str, str], wrong: dict[str, str], text: str
) -> None:
    result = doctor(healthy_environment | wrong)
    assert result.exit_code == 1
    assert [line for line in result.output.splitlines() if line.startswith("FAIL") and text in line]


@pytest.fixture
def silent_url() -> Iterator[str]:
    """Of a server that takes connections and never answers, as behind a network policy."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("silent", ["BRIDGE_CPH_ENDPOINT", "BRIDGE_IAM_ENDPOINT"])
def test_a_server_that_cannot_be_reached_does_not_blame_the_credentials(
    healthy_environment: dict[str, str], silent_url: str, silent: str
) -> None:
    environment = healthy_environment | {silent: silent_url, "BRIDGE_CPH_TIMEOUT_S": "0.3"}
    if silent == "BRIDGE_IAM_ENDPOINT":
        login = {f"BRIDGE_IAM_{name}": "x" for name in ("USER", "PASSWORD", "DOMAIN")}
        environment |= {"BRIDGE_CPH_TOKEN": ""} | login
    output = doctor(environment).output
    (line,) = (line for line in output.splitlines() if line.startswith("FAIL"))
    assert "timed out after 0.3 s: no answer came from there" in line
    assert "networkPolicy.cphTo" in line
    assert "check the credentials" not in line


def test_an_answer_that_refuses_no_credentials_does_not_blame_them(
    healthy_environment: dict[str, str], standin: dict[str, Any]
) -> None:
    output = doctor(healthy_environment | {"BRIDGE_CPH_ENDPOINT": f"{standin['url']}/elsewhere"}).output
    assert "HTTP 404" in output
    assert "the credentials were not refused: check the project's id and the endpoint" in output


def test_templates_are_tried(healthy_environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "mine.json.j2").write_text('{"id": {{ event.id | tojson }}}', encoding="utf-8")
    with_templates = healthy_environment | {"BRIDGE_TEMPLATES_DIR": str(tmp_path)}
    assert "templates that render every event: mine" in doctor(with_templates).output
    (tmp_path / "mine.json.j2").write_text("{", encoding="utf-8")
    result = doctor(with_templates)
    assert result.exit_code == 1
    assert "mine.json.j2: template mine, for job.succeeded: gives no JSON" in result.output


def test_cph_is_not_called_while_its_token_cannot_be_read(healthy_environment: dict[str, str]) -> None:
    login = {f"BRIDGE_IAM_{name}": "x" for name in ("USER", "PASSWORD", "DOMAIN")}
    iam = {"BRIDGE_CPH_TOKEN": "", "BRIDGE_IAM_ENDPOINT": healthy_environment["BRIDGE_CPH_ENDPOINT"], **login}
    result = doctor(healthy_environment | iam | {"BRIDGE_REDIS_URL": "unix:///nowhere/redis.sock"})
    assert "warn CPH project default was not checked: Redis cannot be reached" in " ".join(result.output.split())


def test_secrets_are_not_shown(healthy_environment: dict[str, str]) -> None:
    output = doctor({**healthy_environment, "BRIDGE_CPH_TOKEN": "canary-token"}).output
    assert not [secret for secret in ("canary-token", healthy_environment["BRIDGE_BOOTSTRAP_KEY"]) if secret in output]


@pytest.mark.parametrize(
    ("wrong", "level"),
    [
        ({}, "ok"),
        ({"aof_enabled": 0}, "warn"),
        ({"aof_enabled": 0, "aof_last_write_status": "err"}, "warn"),
        ({"aof_last_write_status": "err"}, "FAIL"),
        ({"used_memory": 599}, "ok"),
        ({"used_memory": 600}, "warn"),
        ({"used_memory": 800}, "FAIL"),
        ({"maxmemory": 0}, "warn"),
    ],
)
def test_a_redis_that_would_lose_something_is_found(wrong: dict[str, Any], level: str) -> None:
    found = [finding.level for finding in judge_redis(GOOD_REDIS | wrong)]
    assert max(found, key=["ok", "warn", "FAIL"].index) == level


@pytest.mark.parametrize("field", FIELDS)
def test_what_a_managed_redis_does_not_report_is_named(field: str) -> None:
    found = list(judge_redis({name: value for name, value in GOOD_REDIS.items() if name != field}))
    assert Finding(Level.WARN, f"INFO lacks {field}", "check these values where this Redis is managed") in found


@pytest.mark.parametrize("unfit", UNFIT.values(), ids=UNFIT)
def test_an_unfit_redis_fails_with_what_to_do(
    healthy_environment: dict[str, str], unfit: Unfit, tmp_path: Path
) -> None:
    with unfit.opened(tmp_path) as url:
        result = doctor(healthy_environment | {"BRIDGE_REDIS_URL": url})
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert [line for line in result.output.splitlines() if line.startswith("FAIL ") and unfit.words in line]
    assert PASSWORD not in result.output


def test_a_redis_that_evicts_does_not_stop_the_other_checks(
    healthy_environment: dict[str, str], tmp_path: Path
) -> None:
    with UNFIT["evicting"].opened(tmp_path) as url:
        output = doctor(healthy_environment | {"BRIDGE_REDIS_URL": url}).output
    assert "warn no poll worker is alive" in output
    assert "ok   CPH project default answers" in output


@pytest.mark.parametrize(
    ("states", "wait", "known", "levels"),
    [
        ([], 0, None, []),
        ([], 0, 0, []),
        ([], 1, None, ["FAIL"]),
        (["online"], 0, None, ["warn"]),
        (["online"], 1, None, ["ok"]),
        (["online", "online"], 1, None, ["warn"]),
        (["online", "online"], 2, 2, ["ok"]),
        (["online", "wait_bgsave"], 1, None, ["warn"]),
        (["online", "wait_bgsave"], 2, None, ["FAIL"]),
        (["online", "online", "online"], 2, None, ["warn"]),
        (["online"], 1, 2, ["warn"]),
        ([], 0, 1, ["warn"]),
    ],
)
def test_replicas_that_are_too_few_or_not_waited_for_are_found(
    states: list[str], wait: int, known: int | None, levels: list[str]
) -> None:
    info = {f"slave{number}": {"state": state} for number, state in enumerate(states)}
    found = list(judge_replicas(info | {"slave_repl_offset": 7, "min_slaves_good_slaves": 1}, wait, known))
    assert [finding.level for finding in found] == levels
    assert all(bool(finding.remedy) == (finding.level != "ok") for finding in found)


@pytest.mark.slow
def test_a_replica_that_only_the_sentinels_know_must_be_waited_for(
    healthy_environment: dict[str, str], tmp_path: Path
) -> None:
    """It may come back and be promoted."""

    def found(wait: int) -> str:
        return doctor(healthy_environment | group.settings | {"BRIDGE_WAIT_REPLICAS": str(wait)}).output

    loses = "a failover can lose what was acknowledged: set it to 2, the number of all replicas"
    with RedisGroup(tmp_path, replicas=2, sentinels=3) as group:
        assert f"warn 2 Redis replicas in sync, BRIDGE_WAIT_REPLICAS is 1: {loses}" in found(1)
        assert "ok   2 Redis replicas in sync, BRIDGE_WAIT_REPLICAS is 2" in found(2)
        group.processes[group.replicas[0]].kill()
        wait_until(lambda: group.info(group.first)["connected_slaves"] == 1, what="the replica is away")
        assert f"warn 1 Redis replica in sync, BRIDGE_WAIT_REPLICAS is 1, Sentinels know 2: {loses}" in found(1)
        assert "FAIL 1 Redis replica in sync, BRIDGE_WAIT_REPLICAS is 2, Sentinels know 2: callers get 503" in found(2)


def test_what_a_real_primary_reports_about_its_replicas_is_understood(
    healthy_environment: dict[str, str], tmp_path: Path
) -> None:
    """The user of BRIDGE_REDIS_URL may not read the configuration."""
    replica_warning = "keeps accepting writes: set min-replicas-to-write 1"
    with RedisGroup(tmp_path, replicas=1) as group:
        url = f"redis://{USER}:{PASSWORD}@{CLIENTS}:{group.first}/0"
        output = doctor(healthy_environment | {"BRIDGE_REDIS_URL": url}).output
        assert "warn 1 Redis replica in sync, BRIDGE_WAIT_REPLICAS is 0: a failover can lose" in output
        assert replica_warning in output
        with Redis.from_url(group.url(group.first)) as primary:
            primary.config_set("min-replicas-to-write", 1)
        output = doctor(healthy_environment | {"BRIDGE_REDIS_URL": url, "BRIDGE_WAIT_REPLICAS": "1"}).output
        assert "ok   1 Redis replica in sync, BRIDGE_WAIT_REPLICAS is 1" in output
        assert replica_warning not in output
        result = doctor(healthy_environment | {"BRIDGE_REDIS_URL": url, "BRIDGE_WAIT_REPLICAS": "2"})
        assert result.exit_code == 1
        assert "FAIL 1 Redis replica in sync, BRIDGE_WAIT_REPLICAS is 2: callers get 503" in result.output


@pytest.mark.parametrize(
    ("alive", "late_s", "level", "text"),
    [
        (1, 0, "ok", "1 poll worker alive, no backlog"),
        (2, 9, "ok", "2 poll workers alive, no backlog"),
        (2, 90, "warn", "2 poll workers alive; backlog: 1:30 late"),
        (0, 0, "warn", "no poll worker is alive"),
        (0, 90, "FAIL", "no poll worker is alive; backlog: 1:30 late"),
    ],
)
def test_a_backlog_is_found_and_fails_if_no_worker_is_alive(alive: int, late_s: int, level: str, text: str) -> None:
    found = judge_backlog("poll", alive, timedelta(seconds=late_s))
    assert (found.level, found.what) == (level, text)
    assert (found.remedy == "") == (level == "ok")


def test_a_worker_whose_clock_is_known_to_be_behind_is_alive(
    healthy_environment: dict[str, str], stores: Stores
) -> None:
    heartbeat = rfc3339(stores.clock() - timedelta(hours=1))
    stores.redis.sadd(keys.rq_workers("poll"), "rq:worker:one")
    stores.redis.hset("rq:worker:one", mapping={"last_heartbeat": heartbeat, "hostname": "node-7"})
    assert "no poll worker is alive" in doctor(healthy_environment).output
    ahead = -3_600_000
    stores.scripts.run(ScriptCall("report_clock", machine="node-7", ahead=ahead, now=to_ms(stores.clock())))
    assert "1 poll worker alive" in doctor(healthy_environment).output


def test_a_backlog_that_nobody_works_off_fails(healthy_environment: dict[str, str], stores: Stores) -> None:
    late = to_ms(stores.clock() - timedelta(minutes=1))
    put_due(stores.redis, "deliver", "t https://bot.example:443", {"dlv_1": late})
    result = doctor(healthy_environment)
    assert result.exit_code == 1
    assert re.search(
        r"FAIL no deliver worker is alive; backlog: 1:0\d late: start `cph-bridge worker deliver`", result.output
    )
    assert "warn no poll worker is alive: start `cph-bridge worker poll`" in result.output


def test_programs_get_a_line_of_json_for_each_finding(healthy_environment: dict[str, str]) -> None:
    result = CliRunner().invoke(main, ["doctor", "--json"], env=healthy_environment)
    found = [json.loads(line) for line in result.output.splitlines()]
    assert {"level": "ok", "what": "settings are valid, and so are the files that they name", "remedy": None} in found
    assert {each["level"] for each in found} == {"ok", "warn"}
    assert all(each["remedy"] for each in found if each["level"] == "warn")


def test_a_slow_redis_and_a_wrong_clock_deserve_a_warning() -> None:
    assert [judge_latency(timedelta(milliseconds=ms)).level for ms in (1, 20)] == ["ok", "warn"]
    assert [judge_clock(timedelta(seconds=s)).level for s in (0.1, 2, -2)] == ["ok", "warn", "warn"]


def test_wrong_clocks_are_named(healthy_environment: dict[str, str], stores: Stores) -> None:
    stores.redis.hset(keys.clock(), mapping={"correction": 3_600_000, "since": 1_767_323_045_000})
    stores.scripts.run(ScriptCall("report_clock", machine="node-7", ahead=-90_000, now=to_ms(stores.clock())))
    output = CliRunner().invoke(main, ["doctor"], env=healthy_environment | {"COLUMNS": "300"}).output
    leapt = (
        "warn Redis' clock has leapt: it is 1:00:00 behind the deployment's time since 2026-01-02 03:04:05 UTC: run NTP"
    )
    assert leapt in output
    assert "warn the clock of node-7 is 1:30 behind the deployment's time: run NTP there" in output


def test_each_project_of_the_file_is_checked(
    healthy_environment: dict[str, str], tmp_path: Path, stores: Stores, now
) -> None:
    project = {
        "project_id": healthy_environment["BRIDGE_CPH_PROJECT_ID"],
        "endpoint": healthy_environment["BRIDGE_CPH_ENDPOINT"],
    }
    projects = {
        "well": project | {"credentials": {"token_env": "BRIDGE_CPH_TOKEN"}},
        "ill": project | {"credentials": {"token_env": "NOT_SET"}},
    }
    file = tmp_path / "projects.yaml"
    file.write_text(json.dumps({"projects": projects}), encoding="utf-8")
    stores.scripts.run(set_project_health("well", ProjectHealth(failed_at=now, failure="HTTP 403: no")))
    stores.polls_due.open_breaker("well", now, timedelta(days=9_999, minutes=1), ())
    output = doctor(healthy_environment | {"BRIDGE_PROJECTS_FILE": str(file)}).output
    assert "ok   CPH project well answers" in output
    assert (
        "warn CPH project well refuses the poll workers, since 2026-01-02 03:04:05 UTC,"
        " next try 2053-05-19 03:05:05 UTC: HTTP 403: no: check their credentials; SIGHUP"
    ) in output
    assert "FAIL CPH project ill cannot be checked: CPH project ill: NOT_SET holds no secret" in output


def test_a_broken_file_of_projects_is_named(healthy_environment: dict[str, str]) -> None:
    assert (
        "FAIL BRIDGE_PROJECTS_FILE: cannot read /nowhere"
        in doctor({**healthy_environment, "BRIDGE_PROJECTS_FILE": "/nowhere"}).output
    )


def test_a_budget_that_is_short_is_named_with_its_remedy(healthy_environment: dict[str, str], stores: Stores) -> None:
    late = stores.clock() - timedelta(minutes=1)
    put_due(stores.redis, "poll", "default", {"job": to_ms(late)})
    stores.redis.hset(keys.lane("poll", "default"), mapping={"tokens": -1_000, "stamp": to_ms(late)})
    output = doctor(healthy_environment).output
    assert re.search(r"warn CPH project default: polls are 6\d s late: raise BRIDGE_CPH_RATE", output), output


def test_each_project_is_shown_as_poll_workers_see_it(healthy_environment: dict[str, str], stores: Stores, now) -> None:
    """Also if doctor itself has no credentials, as next to the API."""
    health = ProjectHealth(
        answered_at=now, credentials_expire_at=now + timedelta(days=1), clock_ahead=timedelta(seconds=-2)
    )
    stores.scripts.run(set_project_health("default", health))
    late = stores.clock() - timedelta(seconds=3)
    put_due(stores.redis, "poll", "default", {"job": to_ms(late)})
    stores.scripts.run(stores.polls_due.throttle("default", stores.clock(), stores.clock(), 0.5))
    output = doctor(healthy_environment | {"BRIDGE_CPH_TOKEN": ""}).output
    shown = (
        r"ok   CPH project default, as poll workers see it: last answer 2026-01-02 03:04:05 UTC;"
        r" 0\.5\d* calls per second \(reduced to 0\.5\d* after CPH's 429s\), \d left; polls \d+ s late;"
        r" credentials expire 2026-01-03 03:04:05 UTC; CPH's clock -2 s from ours"
    )
    assert re.search(shown, output), output


def test_answers_that_poll_workers_cannot_read_are_named(healthy_environment: dict[str, str], stores: Stores) -> None:
    now = stores.clock()
    health = ProjectHealth(answered_at=now, unreadable_at=now, unreadable="1 of 3 listed jobs cannot be read")
    stores.scripts.run(set_project_health("default", health))
    output = doctor(healthy_environment).output
    assert "warn CPH project default: CPH's answers cannot be read (1 of 3 listed jobs cannot be read): check" in output


def test_a_wrong_clock_at_cph_deserves_a_warning(now) -> None:
    wrong = ProjectHealth(clock_ahead=timedelta(minutes=-20))
    assert [finding.remedy for finding in judge_project("prod", wrong, now)] == [
        "run NTP: CPH's clock and ours differ by more than a minute"
    ]
