"""Quotas and request rates of tenants, and the API's refusals while Redis is nearly full."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest

from app.bootstrap.runtime import Runtime
from app.config.settings import load
from app.config.tenants import read_tenants
from app.devkit.processes import PATIENCE_S, wait_until
from app.domain.access import Scope
from app.domain.errors import OperatorError
from app.domain.quota import Quotas
from app.store.engine import keys
from tests.support.api_client import ApiCaller, problem
from tests.support.paths import ROOT

GUIDE = ROOT / "docs" / "settings.md"

REFUSED = {"request_id": "r", "jobs": [{"phone_id": "p", "error_code": "CPS.0004"}]}
MakeApi = Callable[..., ApiCaller]
T = TypeVar("T")


@pytest.fixture
def make_api(environment: dict[str, str], runtime: Runtime) -> Iterator[MakeApi]:
    """Creates APIs with the given settings, on an empty Redis."""
    made = []

    def make(**settings: Any) -> ApiCaller:
        more = {f"BRIDGE_{name.upper()}": str(value) for name, value in settings.items()}
        api = ApiCaller(Runtime(load(environment | more)))
        made.append(api)
        return api

    yield make
    for api in made:
        api.runtime.stores.redis.close()


def key_of(api: ApiCaller, tenant: str) -> str:
    return api.runtime.stores.api_keys.create(tenant, frozenset({Scope.ADMIN}), api.runtime.stores.clock())


def assert_quota_reached(answer: Any, quota: str) -> None:
    body = problem(answer, 429)
    assert body["type"] == "/problems/quota-reached"
    assert quota in body["detail"]
    assert body["hint"]
    assert int(answer.headers["Retry-After"]) > 0


def test_only_so_many_registrations_are_watched_at_once(make_api: MakeApi) -> None:
    api = make_api(quota_registrations=2)
    ids = [api.registered()["id"] for _ in range(2)]
    assert_quota_reached(api.register(), "registrations")
    assert api.register(key=key_of(api, "acme")).status_code == 201
    api.call("DELETE", f"/v1/registrations/{ids[0]}")
    api.call("DELETE", f"/v1/registrations/{ids[0]}")
    assert api.register().status_code == 201
    assert_quota_reached(api.register(), "registrations")
    assert len(api.get("/v1/registrations")["items"]) == 3


def test_what_has_ended_counts_no_more(make_api: MakeApi) -> None:
    api = make_api(quota_registrations=1)
    for _ in range(3):
        assert api.registered(job_id=None, submission=REFUSED)
    assert api.register().status_code == 201


def test_callbacks_go_to_only_so_many_destinations(make_api: MakeApi) -> None:
    api = make_api(quota_destinations=2)
    for port in (1001, 1002, 1001):
        api.registered(callback_url=f"http://127.0.0.1:{port}/")
    assert_quota_reached(api.register(callback_url="http://127.0.0.1:1003/"), "destinations")
    assert api.register(callback_url="http://127.0.0.1:1002/other").status_code == 201


def test_a_tenant_with_too_many_pending_deliveries_registers_no_more(make_api: MakeApi) -> None:
    api = make_api(quota_deliveries=2)
    made = [api.registered(job_id=None, submission=REFUSED)["id"] for _ in range(2)]
    assert_quota_reached(api.register(), "deliveries")
    api.call("DELETE", f"/v1/registrations/{made[0]}")
    assert api.register().status_code == 201


def test_a_repeated_request_is_answered_whatever_the_quota(make_api: MakeApi) -> None:
    api = make_api(quota_registrations=1)
    again = {"Idempotency-Key": "one"}
    first = api.register(headers=again)
    assert first.status_code == 201
    assert api.register(headers=again).json == first.json
    assert_quota_reached(api.register(headers={"Idempotency-Key": "two"}), "registrations")
    api.call("DELETE", f"/v1/registrations/{first.json['id']}")
    assert api.register(headers={"Idempotency-Key": "two"}).status_code == 201


def test_races_do_not_exceed_a_quota(make_api: MakeApi) -> None:
    api = make_api(quota_registrations=10)
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda _: api.register().status_code, range(60)))
    assert answers.count(201) == 10
    assert answers.count(429) == 50


def test_zero_is_unbounded(make_api: MakeApi) -> None:
    api = make_api(quota_registrations=0, quota_destinations=0, quota_deliveries=0, quota_requests=0)
    answer = api.register()
    assert answer.status_code == 201
    assert "RateLimit" not in answer.headers


# Requests a minute.


def limits(answer: Any) -> tuple[int, int, int]:
    """The quota, the requests left of it, and the seconds until it is full again."""
    policy = re.fullmatch(r'"requests";q=(\d+);w=60', answer.headers["RateLimit-Policy"])
    left = re.fullmatch(r'"requests";r=(\d+);t=(\d+)', answer.headers["RateLimit"])
    assert policy
    assert left
    return int(policy[1]), int(left[1]), int(left[2])


def in_one_minute(api: ApiCaller, ask: Callable[[], T]) -> T:
    """Calls `ask` until it begins and ends in the same minute of the quota; returns the result of that call."""

    def minute() -> int:
        return int(api.runtime.stores.clock().timestamp()) // 60

    while True:
        began = minute()
        result = ask()
        if minute() == began:
            return result
        # Its last requests have counted against the next minute's quota.
        wait_until(lambda: minute() > began + 1, timeout=2 * PATIENCE_S, what="a minute without requests")  # noqa: B023


def test_a_tenant_may_ask_only_so_often_in_a_minute(make_api: MakeApi) -> None:
    api = make_api(quota_requests=5)
    answers = in_one_minute(api, lambda: [api.call("GET", "/v1/registrations") for _ in range(7)])
    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
    assert [limits(answer)[:2] for answer in answers] == [(5, left) for left in (4, 3, 2, 1, 0, 0, 0)]
    assert_quota_reached(answers[-1], "requests")
    assert int(answers[-1].headers["Retry-After"]) == limits(answers[-1])[2] <= 60
    assert api.call("GET", "/v1/registrations", key=key_of(api, "acme")).status_code == 200
    assert api.call("GET", "/healthz").status_code == 200


def test_processes_share_a_tenants_minute(make_api: MakeApi) -> None:
    one, other = make_api(quota_requests=1_000), make_api(quota_requests=1_000)

    def spend() -> int:
        return sum(api.call("GET", "/v1/projects").status_code == 200 for _ in range(600) for api in (one, other))

    spent = in_one_minute(one, spend)
    # Each process takes ten requests of the quota at a time. Those that it does not use are lost to the other.
    assert 990 <= spent <= 1_000


def test_a_quota_of_requests_holds_for_many_at_once(make_api: MakeApi) -> None:
    api = make_api(quota_requests=20)
    with ThreadPoolExecutor(8) as threads:

        def ask() -> list[int]:
            return list(threads.map(lambda _: api.call("GET", "/v1/projects").status_code, range(60)))

        assert in_one_minute(api, ask).count(200) == 20


# Tenants with a file entry.


def test_a_tenant_has_what_its_file_says(make_api: MakeApi, tmp_path: Path) -> None:
    file = tmp_path / "tenants.yaml"
    file.write_text(
        "tenants:\n  acme:\n    quotas: {registrations: 1, requests: 50}\n    projects: []\n", encoding="utf-8"
    )
    api = make_api(tenants_file=file, quota_registrations=2)
    acme = key_of(api, "acme")
    body = problem(api.register(key=acme), 422)
    assert body["errors"][0]["pointer"] == "/project"
    assert api.get("/v1/projects", key=acme)["items"] == []
    file.write_text(
        "tenants:\n  acme:\n    quotas: {registrations: 1, requests: 50}\n    projects: [default]\n", encoding="utf-8"
    )
    api.runtime.reload()
    assert limits(api.register(key=acme))[0] == 50
    assert_quota_reached(api.register(key=acme), "registrations")
    for _ in range(2):
        assert api.register().status_code == 201
    assert_quota_reached(api.register(), "registrations")


def test_a_project_that_a_tenant_may_not_name_is_as_if_it_were_not_there(make_api: MakeApi, tmp_path: Path) -> None:
    tenants, projects = tmp_path / "tenants.yaml", tmp_path / "projects.yaml"
    tenants.write_text("tenants:\n  acme: {projects: [open]}\n", encoding="utf-8")
    project = "{project_id: p, endpoint: 'http://127.0.0.1:9', credentials: {token_env: T}}"
    projects.write_text(f"projects:\n  open: {project}\n  closed: {project}\n", encoding="utf-8")
    api = make_api(tenants_file=tenants, projects_file=projects)
    acme = key_of(api, "acme")
    assert [each["name"] for each in api.get("/v1/projects", key=acme)["items"]] == ["open"]
    assert api.register(key=acme).json["project"] == "open"
    for name in ("closed", "none"):
        for answer in (api.register(key=acme, project=name), api.call("GET", f"/v1/jobs/a?project={name}", key=acme)):
            body = problem(answer, 422)
            assert body["hint"] == "one of: open"
    assert api.register(project="closed").status_code == 201


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tenants: {a: {quota: {}}}", "tenants.a.quota: unknown"),
        ("tenants: {a: {quotas: {requests: -1}}}", "tenants.a.quotas.requests"),
        ("tenants: {a: {quotas: {requests: '5'}}}", "tenants.a.quotas.requests"),
        ("tenants: {'a:b': {}}", "tenants.a:b"),
        ("{}", "tenants: is missing"),
        ("tenants: [", "line 1"),
    ],
)
def test_a_wrong_file_of_tenants_is_reported_in_words(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "tenants.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(OperatorError, match=re.escape(message)):
        read_tenants(file)


# Redis is nearly full.


def test_nothing_more_is_accepted_when_redis_is_nearly_full(make_api: MakeApi) -> None:
    api = make_api()
    id = api.registered()["id"]
    redis = api.runtime.stores.redis
    limit = int(redis.info("memory")["used_memory"] / 0.85)
    redis.config_set("maxmemory", limit)
    try:
        other = make_api()
        answer = other.register()
        problem(answer, 503)
        assert int(answer.headers["Retry-After"]) >= 30
        assert other.get(f"/v1/registrations/{id}")["state"] == "watching"
        assert other.call("DELETE", f"/v1/registrations/{id}").status_code == 204
    finally:
        redis.config_set("maxmemory", 0)
    wait_until(lambda: other.register().status_code == 201, timeout=5, what="free memory")


def test_counts_are_what_quotas_are_checked_against(api: ApiCaller) -> None:
    api.registered()
    api.registered(job_id=None, submission=REFUSED)
    assert api.runtime.stores.redis.hgetall(keys.tenant_counts("default")) == {
        "registrations": "1",
        "jobs": "1",
        "deliveries": "1",
    }


def test_the_example_of_the_guide_is_read(tmp_path: Path) -> None:
    file = tmp_path / "tenants.yaml"
    file.write_text(GUIDE.read_text(encoding="utf-8").split("```yaml\n")[3].split("```")[0], encoding="utf-8")
    tenant = read_tenants(file)["team-a"]
    assert tenant.projects == {"production"}
    assert tenant.quotas_over(Quotas()) == Quotas(
        registrations=20_000, jobs=20_000, destinations=50, deliveries=20_000, requests=1_200
    )
