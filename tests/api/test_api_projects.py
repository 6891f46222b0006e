"""/v1/projects: the CPH projects, their state and their budget."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
import yaml

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.config.settings import load
from app.domain.access import Scope
from app.domain.project_health import ProjectHealth
from app.domain.times import to_ms
from app.store.project_health import set_project_health
from tests.support.api_client import ApiCaller, problem
from tests.support.claims import put_due

PROD = {"project_id": "p1", "region": "ap-southeast-1", "credentials": {"token_env": "NOT_SET"}, "rate": 2.5}
TRIAL = {"project_id": "p2", "endpoint": "https://cph.example:8443", "credentials": {"agency": True}}


@pytest.fixture
def two_project_api(runtime: Runtime, environment: dict[str, str], tmp_path: Path) -> ApiCaller:
    """An API with two projects. Their credentials are not set: the API does not need them."""
    file = tmp_path / "projects.yaml"
    file.write_text(yaml.safe_dump({"projects": {"prod": PROD, "trial": TRIAL}}, sort_keys=False), encoding="utf-8")
    settings = load(
        environment | {"BRIDGE_PROJECTS_FILE": str(file), "BRIDGE_BOOTSTRAP_KEY": "bootstrap-key-for-tests"}
    )
    return ApiCaller(Runtime(settings))


def test_projects_are_shown_with_how_they_fare(two_project_api: ApiCaller, stores: Stores, now: datetime) -> None:
    health = ProjectHealth(
        answered_at=now,
        failed_at=now + timedelta(seconds=1),
        failure="HTTP 403 CPS.0001: no",
        credentials_expire_at=now + timedelta(days=9_999),
        clock_ahead=timedelta(seconds=-2),
    )
    stores.scripts.run(set_project_health("prod", health))
    stores.polls_due.open_breaker("prod", now, timedelta(days=9_999), ())
    assert two_project_api.get("/v1/projects") == {
        "items": [
            {
                "name": "prod",
                "project_id": "p1",
                "endpoint": "cph.ap-southeast-1.myhuaweicloud.com",
                "state": "refused",
                "refused_since": "2026-01-02T03:04:05Z",
                "last_answer_at": "2026-01-02T03:04:05Z",
                "last_error": {"at": "2026-01-02T03:04:06Z", "reason": "HTTP 403 CPS.0001: no"},
                "rate": 2.5,
                "budget": {
                    "rate": 10,
                    "learned_rate": None,
                    "calls_left": 10,
                    "paused_until": "2053-05-19T03:04:05Z",
                },
                "late_s": 0,
                "credentials_expire_at": "2053-05-19T03:04:05Z",
                "clock_ahead_s": -2,
                "hint": "check the credentials, the project's id and the endpoint; "
                "SIGHUP to poll workers, or a changed secret file, triggers a retry at once",
            },
            {
                "name": "trial",
                "project_id": "p2",
                "endpoint": "cph.example:8443",
                "state": "waiting",
                "refused_since": None,
                "last_answer_at": None,
                "last_error": None,
                "rate": 10,
                "budget": {"rate": 10, "learned_rate": None, "calls_left": 10, "paused_until": None},
                "late_s": 0,
                "credentials_expire_at": None,
                "clock_ahead_s": None,
                "hint": None,
            },
        ],
        "next_cursor": None,
    }


def test_what_a_short_budget_costs_is_shown(two_project_api: ApiCaller, stores: Stores) -> None:
    polls, now = stores.polls_due, stores.clock()
    put_due(stores.redis, "poll", "trial", {"job": to_ms(now - timedelta(seconds=90)), "request:r": 0})
    stores.scripts.run(polls.throttle("trial", now - timedelta(minutes=1), now - timedelta(seconds=1), 0.01))
    project = two_project_api.get("/v1/projects")["items"][1]
    assert 90 <= project["late_s"] < 100
    assert project["budget"] == {"rate": 0.017, "learned_rate": 0.017, "calls_left": 0, "paused_until": None}
    assert "CPH throttles" in project["hint"]


def test_the_project_of_the_environment_is_shown_too(api: ApiCaller) -> None:
    [project] = api.get("/v1/projects")["items"]
    assert (project["name"], project["endpoint"]) == ("default", None)


def test_it_needs_the_scope_to_read_registrations(two_project_api: ApiCaller, stores: Stores) -> None:
    keys_by_scope = {scope: stores.api_keys.create("t", frozenset({scope}), stores.clock()) for scope in Scope}
    two_project_api.get("/v1/projects", key=keys_by_scope[Scope.REGISTRATIONS_READ])
    problem(two_project_api.call("GET", "/v1/projects", key=keys_by_scope[Scope.DELIVERIES_WRITE]), 403)


def test_a_registration_names_one_of_several_projects(two_project_api: ApiCaller) -> None:
    assert two_project_api.registered(project="trial")["project"] == "trial"
    answer = problem(two_project_api.register(), 422)
    assert (answer["errors"][0]["pointer"], answer["hint"]) == ("/project", "one of: prod, trial")


def test_projects_are_described_by_the_document(two_project_api: ApiCaller) -> None:
    document = two_project_api.get("/openapi.json", key=None)
    assert document["paths"]["/v1/projects"]["get"]["responses"]["200"]
