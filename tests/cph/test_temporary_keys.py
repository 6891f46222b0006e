"""Temporary keys from the host or the pod: workers share, cache and renew them, and pause after a failure."""

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from app.cph.access_keys import KeySource, TemporaryKeys
from app.cph.agency import HostAgency, PodIdentity
from app.cph.cached_credentials import CachedCredential, load
from app.cph.client import CphClient, Unanswered
from app.cph.credentials import CphRequest, NoCredentials
from app.cph.signing import Key, sign
from app.transport.client import Transport
from tests.support.manual_clock import ManualClock
from tests.support.scripted_cloud import (
    DAY,
    METADATA_PATH,
    NOW,
    POD_PATH,
    MemoryCache,
    ScriptedCloud,
    gives_key,
    gives_token,
    iam_password,
    in_turn,
    says,
)

PROJECT = "p" * 32
DEADLINE = timedelta(seconds=5)
MINUTE = timedelta(minutes=1)
REQUEST = CphRequest("GET", "https://cph.example/", {"Accept": "application/json"})
PARTS = {"access": "a", "secret": "s", "securitytoken": "t", "expires_at": "2026-01-02T00:00:00Z"}


@pytest.fixture
def agency(cloud: ScriptedCloud, transport: Transport) -> HostAgency:
    return HostAgency(transport=transport, deadline=DEADLINE, endpoint=cloud.url + "/")


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text("first-token\n", encoding="utf-8")
    return file


@pytest.fixture
def pod_identity(cloud: ScriptedCloud, transport: Transport, token_file: Path) -> PodIdentity:
    return PodIdentity(transport=transport, deadline=DEADLINE, url=cloud.url + POD_PATH, token_file=token_file)


@pytest.fixture(params=["agency", "pod_identity"])
def source(request: pytest.FixtureRequest) -> KeySource:
    return request.getfixturevalue(request.param)


@pytest.fixture
def credentials(source: KeySource, cache: MemoryCache, clock: ManualClock) -> TemporaryKeys:
    return TemporaryKeys(source, project_id=PROJECT, cache=cache, clock=clock)


@pytest.fixture
def another_worker(source: KeySource, cache: MemoryCache, clock: ManualClock) -> TemporaryKeys:
    return TemporaryKeys(source, project_id=PROJECT, cache=cache, clock=clock)


def token_of(credentials) -> str:
    return credentials.authorise(REQUEST)["X-Security-Token"]


def refuse(credentials, token) -> bool:
    return credentials.renew_refused({"X-Security-Token": token})


def test_a_temporary_key_signs_with_its_security_token(cloud, credentials):
    cloud.keys = gives_key("k1")

    headers = credentials.authorise(REQUEST)

    assert headers == sign(REQUEST, Key("k1-access", "k1-secret", "k1-token"), PROJECT, NOW)


def test_workers_share_a_key_for_as_long_as_it_lives(cloud, credentials, another_worker, cache):
    cloud.keys = gives_key("k1")

    assert [token_of(worker) for worker in (credentials, another_worker) * 10] == ["k1-token"] * 20
    assert len(cloud.issues) == 1
    assert cache.life == DAY


def test_a_key_is_renewed_in_the_last_tenth_of_its_life(cloud, credentials, clock):
    cloud.keys = in_turn(gives_key("k1"), gives_key("k2", NOW + 2 * DAY))
    token_of(credentials)

    clock.now = NOW + DAY * 0.89
    assert token_of(credentials) == "k1-token"
    clock.now = NOW + DAY * 0.9
    assert token_of(credentials) == "k2-token"


def test_the_old_key_serves_to_its_end_while_no_other_is_given(cloud, credentials, clock):
    cloud.keys = in_turn(gives_key("k1"), says(503))
    token_of(credentials)

    clock.now = NOW + DAY * 0.95
    assert [token_of(credentials) for _ in range(10)] == ["k1-token"] * 10
    assert len(cloud.issues) == 2
    clock.now = NOW + DAY
    with pytest.raises(NoCredentials, match="HTTP 503"):
        token_of(credentials)


def test_a_refused_key_is_renewed_once_for_all_workers(cloud, credentials, another_worker, clock):
    cloud.keys = in_turn(gives_key("k1"), gives_key("k2"))
    assert token_of(credentials) == token_of(another_worker) == "k1-token"
    clock.now += DAY / 2

    assert refuse(credentials, "k1-token")
    assert refuse(another_worker, "k1-token")

    assert token_of(credentials) == token_of(another_worker) == "k2-token"
    assert len(cloud.issues) == 2


def test_a_refused_key_that_is_given_again_is_not_tried_twice(cloud, transport, credentials, clock):
    cloud.keys = gives_key("k1")
    token_of(credentials)
    clock.now += DAY / 2
    cloud.cph = says(401, {"error_code": "APIGW.0301", "error_msg": "Refused."})
    client = CphClient(
        transport=transport, endpoint=cloud.url, project_id=PROJECT, credentials=credentials, deadline=DEADLINE
    )

    assert client.show_job("j") == Unanswered("HTTP 401 APIGW.0301: Refused.", MINUTE, unauthenticated=True)
    assert len([call for call in cloud.calls if "/jobs/" in call.path]) == 1


@pytest.mark.parametrize(
    ("answer", "message", "refused"),
    [
        (says(401, {"error_msg": "No agency."}), "HTTP 401: No agency.", True),
        (says(403), "HTTP 403: no reason given", True),
        (says(500, b"<html>"), "HTTP 500: no reason given", False),
        (
            says(200, b"<html>"),
            "the answer has no readable access key and no secret key and no security token and no expiry",
            False,
        ),
        (
            says(200, {"credential": "none"}),
            "the answer has no readable access key and no secret key and no security token and no expiry",
            False,
        ),
        (says(200, PARTS | {"access": "a\r\nX: 1"}), "the answer has no readable access key", False),
        (says(200, PARTS | {"secret": ""}), "the answer has no readable secret key", False),
        (says(200, PARTS | {"securitytoken": None}), "the answer has no readable security token", False),
        (says(200, PARTS | {"expires_at": 5}), "the answer has no readable expiry", False),
        (gives_key("k1", NOW), "the issued credentials have already expired: compare the clocks", False),
        (lambda handler: None, "connection closed without an answer", False),
    ],
)
def test_a_failure_is_remembered_by_every_worker(
    cloud, source, credentials, another_worker, cache, answer, message, refused
):
    cloud.keys = answer

    for worker in (credentials, another_worker) * 3:
        with pytest.raises(NoCredentials) as failure:
            token_of(worker)
        assert str(failure.value) == f"{source.issuer}: {message}"
        assert (failure.value.pause, failure.value.refused) == (MINUTE, refused)

    assert len(cloud.issues) == 1
    assert cache.life == MINUTE


def test_a_throttled_source_is_left_alone_for_as_long_as_it_says(cloud, credentials):
    cloud.keys = says(429, {}, {"Retry-After": "7"})

    with pytest.raises(NoCredentials) as failure:
        token_of(credentials)

    assert failure.value.pause == timedelta(seconds=7)


@pytest.mark.parametrize(
    "shape",
    [
        PARTS,
        {"credentials": PARTS},
        {"accessKeyId": "a", "secretAccessKey": "s", "securityToken": "t", "expiration": PARTS["expires_at"]},
        {"access_key_id": "a", "secret_access_key": "s", "security_token": "t", "expires_at": PARTS["expires_at"]},
    ],
)
def test_a_key_is_read_in_each_shape_that_the_official_sdk_reads(cloud, source, shape):
    cloud.keys = says(200, shape)

    assert source.issue() == (Key("a", "s", "t"), NOW + DAY)


def test_a_key_does_not_show_when_its_cache_entry_is_printed(cloud, credentials, cache):
    cloud.keys = gives_key("hidden")
    token_of(credentials)

    cached = load(cache.dumped, TypeAdapter(CachedCredential[Key]))

    assert cached.grant.proof.secret_key == "hidden-secret"
    assert "hidden" not in repr(cached)


def test_what_another_kind_of_credentials_has_cached_is_nothing(cloud, transport, credentials, cache, clock):
    cloud.iam = gives_token("t1")
    cloud.keys = gives_key("k1")
    password = iam_password(cloud, transport, cache, clock)
    password.authorise(REQUEST)

    assert token_of(credentials) == "k1-token"


def test_a_metadata_service_without_tokens_is_asked_for_the_key_alone(cloud, agency):
    cloud.keys = gives_key("k1")

    agency.issue()

    [token_call, key_call] = cloud.calls
    assert token_call.path == "/meta-data/latest/api/token"
    assert token_call.headers["X-Metadata-Token-Ttl-Seconds"] == "21600"
    assert key_call.path == METADATA_PATH
    assert "X-Metadata-Token" not in key_call.headers


def test_a_metadata_service_with_tokens_is_asked_with_one(cloud, agency):
    cloud.metadata_tokens = says(200, b"of-the-host\n")
    cloud.keys = gives_key("k1")

    agency.issue()

    assert cloud.issues[0].headers["X-Metadata-Token"] == "of-the-host"


@pytest.mark.parametrize("answer", [says(403, b"no"), says(200, b""), says(200, b"no\ttoken"), says(200, b"\xff")])
def test_a_metadata_service_that_gives_no_token_is_asked_for_no_key(cloud, agency, answer):
    cloud.metadata_tokens = answer

    with pytest.raises(NoCredentials, match="no reason given"):
        agency.issue()

    assert cloud.issues == []


def test_the_pods_token_is_read_each_time(cloud, pod_identity, token_file):
    cloud.keys = gives_key("k1")
    pod_identity.issue()
    token_file.write_text("second-token", encoding="utf-8")
    pod_identity.issue()

    assert [call.headers["Authorization"] for call in cloud.issues] == ["first-token", "second-token"]
    assert {(call.headers["Content-Type"], call.body) for call in cloud.issues} == {("application/json", b"{}")}


def test_a_pods_token_that_the_server_quotes_is_not_in_the_reason(cloud, pod_identity):
    cloud.keys = says(401, {"message": "first-token has ended"})

    with pytest.raises(NoCredentials, match="HTTP 401: … has ended"):
        pod_identity.issue()


@pytest.mark.parametrize("content", [b"", b"two words", b"\xff"])
def test_a_file_without_a_token_is_named(cloud, pod_identity, token_file, content):
    token_file.write_bytes(content)

    with pytest.raises(NoCredentials, match=f"{token_file} holds no token"):
        pod_identity.issue()

    assert cloud.calls == []


def test_a_file_that_is_not_there_is_named(pod_identity, token_file):
    token_file.unlink()

    with pytest.raises(NoCredentials, match=f"{token_file}: No such file"):
        pod_identity.issue()
