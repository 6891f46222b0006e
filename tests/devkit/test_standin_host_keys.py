"""Temporary keys of a host's agency and of a pod's identity, read by the official SDK and by our own code."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.auth.internal import MetadataAccessor, PodIdentityAccessor
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException, SdkException
from huaweicloudsdkcore.http.http_config import HttpConfig
from huaweicloudsdkcph.v1 import CphClient, ShowJobRequest

from app.cph.agency import HostAgency, PodIdentity
from app.cph.credentials import NoCredentials
from app.cph.signing import Key
from app.transport.client import Transport

SECURITY_KEY = "/openstack/latest/securitykey"
TOKEN = "/meta-data/latest/api/token"
DEADLINE = timedelta(seconds=5)


@pytest.fixture
def token_file(standin: Any, tmp_path: Path) -> Path:
    """The token that a cluster mounts into a pod."""
    file = tmp_path / "token"
    file.write_text(standin.about["pod_token"] + "\n", encoding="utf-8")
    return file


@pytest.fixture
def metadata_accessor(standin: Any) -> MetadataAccessor:
    class Accessor(MetadataAccessor):
        _METADATA_ENDPOINT = standin.about["url"]

    return Accessor()


@pytest.fixture
def transport() -> Iterator[Transport]:
    transport = Transport()
    yield transport
    transport.close()


@pytest.fixture
def show_job_status(standin: Any) -> Iterator[Callable[[Any], int]]:
    """show_job_status(key): the status of the answer when the SDK signs a call with this key."""
    opened = []

    def ask(key: Any) -> int:
        credentials = BasicCredentials(key.access, key.secret, standin.about["project_id"])
        credentials.security_token = key.security_token
        builder = CphClient.new_builder().with_http_config(HttpConfig(timeout=(3, 10)))
        opened.append(builder.with_credentials(credentials).with_endpoint(standin.about["url"]).build())
        try:
            return int(opened[-1].show_job(ShowJobRequest(job_id=standin.job()["job_id"])).status_code)
        except ClientRequestException as refused:
            return int(refused.status_code)

    yield ask
    for client in opened:
        client.get_http_client().close()


@pytest.mark.parametrize("tokens", ["unknown", "optional", "required"])
def test_the_sdk_gets_a_key_of_the_host_that_opens_cph(
    standin: Any, metadata_accessor: MetadataAccessor, show_job_status: Callable[[Any], int], tokens: str
) -> None:
    standin.order("/_standin/host", {"tokens": tokens})
    assert show_job_status(metadata_accessor.get_credential()) == 200


def test_the_sdk_gets_a_key_of_the_pod_that_opens_cph(
    standin: Any, token_file: Path, show_job_status: Callable[[Any], int]
) -> None:
    key = PodIdentityAccessor(standin.about["url"] + "/pod-identity", str(token_file)).get_credential()
    assert show_job_status(key) == 200


def test_a_temporary_key_needs_its_own_security_token(
    metadata_accessor: MetadataAccessor, show_job_status: Callable[[Any], int]
) -> None:
    key, other = metadata_accessor.get_credential(), metadata_accessor.get_credential()
    key.security_token = other.security_token
    assert show_job_status(key) == 401
    key.security_token = None
    assert show_job_status(key) == 401


def test_a_security_token_must_be_signed_too(timed_standin: Any) -> None:
    key = timed_standin.cloud.keys.issue(timed_standin.now())
    whole = timed_standin.show_job_signed("x", key.access_key, key.secret_key, key.security_token)
    assert whole.status_code == 404
    added = timed_standin.show_job_signed(
        "x", key.access_key, key.secret_key, added={"X-Security-Token": key.security_token}
    )
    assert added.status_code == 401


def test_a_temporary_key_ends_when_its_life_is_over_or_when_ordered(timed_standin: Any) -> None:
    first = timed_standin.cloud.keys.issue(timed_standin.now())
    timed_standin.wait(timedelta(hours=12).total_seconds())
    second = timed_standin.cloud.keys.issue(timed_standin.now())

    def opens(key: Any) -> bool:
        answer = timed_standin.show_job_signed("x", key.access_key, key.secret_key, key.security_token)
        return bool(answer.status_code == 404)

    assert [opens(first), opens(second)] == [True, True]
    timed_standin.wait(timedelta(hours=12).total_seconds())
    assert [opens(first), opens(second)] == [False, True]
    timed_standin.order("/_standin/tokens/expire", {})
    assert not opens(second)


def test_a_host_that_insists_on_its_token_takes_no_other(standin: Any) -> None:
    standin.order("/_standin/host", {"tokens": "required"})
    assert standin.call("GET", SECURITY_KEY).status_code == 401
    assert standin.call("GET", SECURITY_KEY, headers={"X-Metadata-Token": "made up"}).status_code == 401
    assert standin.call("PUT", TOKEN).status_code == 400
    token = standin.call("PUT", TOKEN, headers={"X-Metadata-Token-Ttl-Seconds": "21600"}).text
    assert standin.call("GET", SECURITY_KEY, headers={"X-Metadata-Token": token}).status_code == 200


def test_the_sdk_reports_that_a_host_has_no_agency(standin: Any, metadata_accessor: MetadataAccessor) -> None:
    standin.order("/_standin/host", {"agency": False})
    with pytest.raises(ClientRequestException) as refused:
        metadata_accessor.get_credential()
    assert refused.value.status_code == 401
    assert "Please configure Cloud Service Agency first" in str(refused.value.error_msg)


def test_a_pod_without_its_token_gets_no_key(standin: Any, token_file: Path) -> None:
    token_file.write_text("another pod's", encoding="utf-8")
    with pytest.raises(SdkException, match="401"):
        PodIdentityAccessor(standin.about["url"] + "/pod-identity", str(token_file)).get_credential()


def test_our_own_readers_get_keys_and_their_ends(standin: Any, transport: Transport, token_file: Path) -> None:
    url = standin.about["url"]
    pod = PodIdentity(transport=transport, deadline=DEADLINE, url=f"{url}/pod-identity", token_file=token_file)
    before = standin.call("GET", "/_standin/calls").json()
    for source in (HostAgency(transport=transport, deadline=DEADLINE, endpoint=url), pod):
        key, ends_at = source.issue()
        assert isinstance(key, Key)
        assert key.security_token
        assert ends_at.utcoffset() == timedelta(0)
    after = standin.call("GET", "/_standin/calls").json()
    assert [after[api] - before[api] for api in ("host_keys", "pod_keys")] == [1, 1]


def test_our_own_readers_meet_faults(standin: Any, transport: Transport, token_file: Path) -> None:
    url = standin.about["url"]
    pod = PodIdentity(transport=transport, deadline=DEADLINE, url=f"{url}/pod-identity", token_file=token_file)
    standin.order("/_standin/faults", {"kind": "iam_unavailable", "api": "host_keys"})
    with pytest.raises(NoCredentials, match="HTTP 503"):
        HostAgency(transport=transport, deadline=DEADLINE, endpoint=url).issue()
    standin.order("/_standin/faults", {"kind": "html", "api": "pod_keys"})
    with pytest.raises(NoCredentials):
        pod.issue()
