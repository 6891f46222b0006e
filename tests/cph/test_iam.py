"""IAM logins are rare: workers share and cache tokens and failures."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from pydantic import TypeAdapter

from app.cph.cached_credentials import CachedCredential, load
from app.cph.credentials import CphRequest, NoCredentials
from app.cph.iam import IamPassword
from app.transport.client import Transport
from tests.support.manual_clock import ManualClock
from tests.support.scripted_cloud import (
    DAY,
    NOW,
    MemoryCache,
    ScriptedCloud,
    gives_token,
    iam_password,
    in_turn,
    says,
)

REQUEST = CphRequest("GET", "https://cph.example/", {"Accept": "application/json"})
UNAVAILABLE = says(503, {"error_code": "IAM.0999", "error_msg": "away"})
MINUTE = timedelta(minutes=1)


def token_of(credentials) -> str:
    return credentials.authorise(REQUEST)["X-Auth-Token"]


def refuse(credentials, token) -> None:
    credentials.renew_refused({"X-Auth-Token": token})


@pytest.fixture
def credentials(cloud: ScriptedCloud, transport: Transport, cache: MemoryCache, clock: ManualClock) -> IamPassword:
    return iam_password(cloud, transport, cache, clock)


@pytest.fixture
def another_worker(cloud: ScriptedCloud, transport: Transport, cache: MemoryCache, clock: ManualClock) -> IamPassword:
    return iam_password(cloud, transport, cache, clock)


@pytest.fixture
def impatient_workers(
    cloud: ScriptedCloud, transport: Transport, cache: MemoryCache, clock: ManualClock
) -> list[IamPassword]:
    return [iam_password(cloud, transport, cache, clock, deadline=timedelta(seconds=0.2)) for _ in range(3)]


def test_a_login_is_what_iam_expects(cloud, credentials):
    cloud.iam = gives_token("t1")

    assert credentials.authorise(REQUEST) == {"Accept": "application/json", "X-Auth-Token": "t1"}
    [login] = cloud.calls
    assert login.path == "/v3/auth/tokens?nocatalog=true"
    assert login.headers["Content-Type"] == "application/json"
    user = {"name": "watcher", "password": "Pass-word-1", "domain": {"name": "acme"}}
    assert json.loads(login.body) == {
        "auth": {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"id": "p" * 32}},
        }
    }


def test_a_token_serves_without_looking_into_the_cache_again(cloud, credentials, cache):
    cloud.iam = gives_token("t1")

    assert [token_of(credentials) for _ in range(100)] == ["t1"] * 100
    assert (len(cloud.logins), cache.loads) == (1, 1)


def test_workers_share_a_token_for_as_long_as_it_lives(cloud, credentials, another_worker, cache):
    cloud.iam = gives_token("t1")

    assert token_of(credentials) == token_of(another_worker) == "t1"
    assert len(cloud.logins) == 1
    assert cache.life == DAY


def test_many_threads_of_two_workers_log_in_once(cloud, credentials, another_worker, cache):
    def when_both_workers_want_a_token(handler):
        for _ in range(2):
            cache.lock_wanted.acquire(timeout=5)
        gives_token("t1")(handler)

    cloud.iam = when_both_workers_want_a_token
    with ThreadPoolExecutor(40) as threads:
        tokens = list(threads.map(token_of, [credentials, another_worker] * 20))

    assert set(tokens) == {"t1"}
    assert len(cloud.logins) == 1


def test_a_token_is_renewed_in_the_last_tenth_of_its_life(cloud, credentials, clock):
    cloud.iam = in_turn(gives_token("t1"), gives_token("t2", NOW + 2 * DAY))
    token_of(credentials)

    clock.now = NOW + DAY * 0.89
    assert token_of(credentials) == "t1"
    clock.now = NOW + DAY * 0.9
    assert token_of(credentials) == "t2"


def test_the_old_token_serves_while_one_thread_renews_it(cloud, credentials, clock):
    renewing, go_on = threading.Event(), threading.Event()

    def slowly(handler):
        renewing.set()
        go_on.wait(10)
        gives_token("t2", NOW + 2 * DAY)(handler)

    cloud.iam = in_turn(gives_token("t1"), slowly)
    token_of(credentials)
    clock.now = NOW + DAY * 0.95
    with ThreadPoolExecutor(1) as thread:
        renewed = thread.submit(token_of, credentials)
        assert renewing.wait(10)
        assert token_of(credentials) == "t1"
        go_on.set()
        assert renewed.result(10) == "t2"


def test_the_old_token_serves_to_its_end_while_iam_is_unavailable_and_iam_is_asked_once_a_minute(
    cloud, credentials, clock
):
    cloud.iam = in_turn(gives_token("t1"), UNAVAILABLE)
    token_of(credentials)
    clock.now = NOW + DAY * 0.95

    assert [token_of(credentials) for _ in range(20)] == ["t1"] * 20
    assert len(cloud.logins) == 2
    clock.now += MINUTE
    assert token_of(credentials) == "t1"
    assert len(cloud.logins) == 3
    clock.now = NOW + DAY
    with pytest.raises(NoCredentials, match=r"IAM: HTTP 503 IAM\.0999: away"):
        token_of(credentials)


@pytest.mark.parametrize(
    ("answer", "message", "pause"),
    [
        (says(401, {"error": {"code": 401, "message": "Wrong."}}), "HTTP 401: Wrong.", 5 * MINUTE),
        (says(403, {"error_code": "IAM.0011", "error_msg": "Locked."}), "HTTP 403 IAM.0011: Locked.", 5 * MINUTE),
        (
            says(429, {"error_code": "IAM.0012", "error_msg": "Slowly."}, {"Retry-After": "30"}),
            "HTTP 429 IAM.0012: Slowly.",
            MINUTE / 2,
        ),
        (UNAVAILABLE, "HTTP 503 IAM.0999: away", MINUTE),
        (says(200, b"<html>"), "HTTP 200: no reason given", MINUTE),
        (
            says(201, {"token": {"expires_at": "2026-01-02T00:00:00Z"}}),
            "the answer to the login has no readable token (header X-Subject-Token)",
            MINUTE,
        ),
        (
            gives_token("not for a header"),
            "the answer to the login has no readable token (header X-Subject-Token)",
            MINUTE,
        ),
        (gives_token("t", NOW), "the issued credentials have already expired: compare the clocks", MINUTE),
        (lambda handler: handler.server.closing.wait(), "timed out after 0.2 s", MINUTE),
    ],
)
def test_a_failed_login_is_remembered_by_every_worker(cloud, impatient_workers, answer, message, pause):
    cloud.iam = answer

    for worker in impatient_workers * 3:
        with pytest.raises(NoCredentials) as failure:
            token_of(worker)
        assert (str(failure.value), failure.value.pause) == (f"IAM: {message}", pause)

    assert len(cloud.logins) == 1


def test_a_failure_is_cached_for_as_long_as_iam_is_left_alone(cloud, credentials, cache):
    cloud.iam = UNAVAILABLE
    with pytest.raises(NoCredentials):
        token_of(credentials)

    assert cache.life == MINUTE


def test_iam_is_asked_again_when_the_pause_is_over(cloud, credentials, clock):
    cloud.iam = in_turn(UNAVAILABLE, gives_token("t1"))
    with pytest.raises(NoCredentials):
        token_of(credentials)

    clock.now += MINUTE
    assert token_of(credentials) == "t1"


def test_a_password_that_iam_quotes_is_not_in_the_reason(cloud, credentials):
    cloud.iam = says(401, {"error": {"message": "watcher/Pass-word-1 is wrong"}})

    with pytest.raises(NoCredentials, match="watcher/… is wrong"):
        token_of(credentials)


def test_a_refused_token_that_another_worker_has_renewed_is_not_renewed_again(
    cloud, credentials, another_worker, clock
):
    cloud.iam = in_turn(gives_token("t1"), gives_token("t2"))
    assert token_of(credentials) == token_of(another_worker) == "t1"
    clock.now += DAY / 2

    refuse(credentials, "t1")
    refuse(another_worker, "t1")
    refuse(another_worker, "t1")

    assert token_of(credentials) == token_of(another_worker) == "t2"
    assert len(cloud.logins) == 2


def test_a_refused_token_is_not_used_again_when_iam_fails(cloud, credentials, another_worker, clock):
    cloud.iam = in_turn(gives_token("t1"), UNAVAILABLE)
    assert token_of(credentials) == token_of(another_worker) == "t1"
    clock.now += DAY / 2

    for worker in (credentials, another_worker):
        refuse(worker, "t1")
        with pytest.raises(NoCredentials, match="away"):
            token_of(worker)

    assert len(cloud.logins) == 2


def test_a_refused_token_does_not_end_the_pause_after_a_failure(cloud, credentials, clock):
    cloud.iam = in_turn(gives_token("t1"), UNAVAILABLE)
    token_of(credentials)
    clock.now = NOW + DAY * 0.95
    token_of(credentials)

    refuse(credentials, "t1")
    with pytest.raises(NoCredentials, match="away"):
        token_of(credentials)

    assert len(cloud.logins) == 2


def test_what_another_version_has_cached_is_nothing(cloud, credentials, cache):
    cloud.iam = gives_token("t1")
    cache.dumped = b'{"token": "in a shape of its own"}'

    assert token_of(credentials) == "t1"


def test_a_token_does_not_show_when_its_cache_entry_is_printed(cloud, credentials, cache):
    cloud.iam = gives_token("secret-token")
    token_of(credentials)

    cached = load(cache.dumped, TypeAdapter(CachedCredential[str]))

    assert cached.grant.proof == "secret-token"
    assert "secret-token" not in repr(cached)


LATER = NOW + timedelta(hours=5)


@pytest.mark.parametrize(
    ("body", "expires_at"),
    [
        (b'{"token":{"expires_at":"2026-01-01T05:00:00.000000Z","user":{"name":"\xb0\xb2"}}}', LATER),
        (b'{"token":{"expires_at":"2026-01-01T05:00:00"}}', LATER),
        (b'{"token":{"expires_at":%d}}' % LATER.timestamp(), LATER),
        (b'{"token":{"expires_at":"%d000"}}' % LATER.timestamp(), LATER),
        (b'{"token":{"expires_at":"2026-01-01T05:00:00Z","catalog":[{"name":"' + b"x" * 100_000 + b'"}]}}', LATER),
        (b'{"token":{"expires_at":"soon"}}', NOW + timedelta(hours=1)),
        (b'{"token":{"expires_at":5}}', NOW + timedelta(hours=1)),
        (b"<html>", NOW + timedelta(hours=1)),
    ],
)
def test_a_login_succeeds_whatever_else_its_answer_says(cloud, credentials, body, expires_at):
    cloud.iam = says(201, body, {"X-Subject-Token": "t1"})

    assert token_of(credentials) == "t1"
    assert credentials.expires_at == expires_at
