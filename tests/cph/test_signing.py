"""Request signatures, checked against the official SDK and the stand-in."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.sdk_request import SdkRequest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.cph.access_keys import AccessKey
from app.cph.client import Answered, CphClient, Unanswered
from app.cph.credentials import CphRequest
from app.cph.signing import Key, sign
from tests.support.scripted_cloud import NOW, says
from tests.support.served import Served

DEADLINE = timedelta(seconds=5)
MINUTE = timedelta(minutes=1)
VISIBLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
HEADERS = st.dictionaries(st.sampled_from(["Accept", "User-Agent", "traceparent", "x-request-id"]), VISIBLE)
SEGMENTS = st.lists(st.text(max_size=10), max_size=4)
PARAMETERS = st.lists(st.tuples(st.text(max_size=6), st.text(max_size=6) | st.just("a,b,c")), max_size=4)


def signed_by_the_sdk(request: CphRequest, path: str, parameters, key: Key, project_id: str, now: datetime):
    credentials = BasicCredentials(key.access_key, key.secret_key, project_id)
    credentials.security_token = key.security_token
    headers = {**request.headers, "X-Sdk-Date": f"{now:%Y%m%dT%H%M%SZ}"}
    sdk_request = SdkRequest(
        request.method, "https", "cph.example:8443", path, None, parameters, headers, request.body, stream=False
    )
    return credentials.sign_request(sdk_request).header_params


@settings(max_examples=300, deadline=None, database=None)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    segments=SEGMENTS,
    parameters=PARAMETERS,
    headers=HEADERS,
    body=st.binary(max_size=20),
    key=st.builds(Key, VISIBLE, st.text(min_size=1), st.none() | VISIBLE),
    now=st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_the_headers_are_those_of_the_official_sdk(method, segments, parameters, headers, body, key, now):
    path = "/" + "/".join(quote(segment, safe="") for segment in segments)
    query = urlencode(parameters, quote_via=quote)
    request = CphRequest(method, f"https://cph.example:8443{path}?{query}", headers, body)

    signed = sign(request, key, "p" * 32, now)

    assert signed == signed_by_the_sdk(request, path, parameters, key, "p" * 32, now)


def test_a_signed_request_looks_so():
    request = CphRequest("GET", "https://cph.example/v1/p/cloud-phone/jobs/j", {"Accept": "application/json"})

    assert sign(request, Key("access", "secret", "temporary"), "p", NOW) == {
        "Accept": "application/json",
        "Host": "cph.example",
        "X-Project-Id": "p",
        "X-Sdk-Date": "20260101T000000Z",
        "X-Security-Token": "temporary",
        "Authorization": "SDK-HMAC-SHA256 Access=access,"
        " SignedHeaders=accept;host;x-project-id;x-sdk-date;x-security-token,"
        " Signature=466a08059049f310280c9238268f87859585619b39d057ba449241ea7fa99873",
    }


def test_a_key_does_not_show_its_secrets_when_it_is_printed():
    assert repr(Key("access", "hidden-1", "hidden-2")) == "Key(access_key='access')"


@pytest.fixture
def make_access_key(standin: Served) -> Callable[..., AccessKey]:
    """Builds the stand-in's key pair, with the given changes. Its clock is the real one, as the stand-in's is."""

    def make(**changes: Any) -> AccessKey:
        about = standin.about
        fields = {name: about[name] for name in ("access_key", "secret_key", "project_id")}
        return AccessKey(**{**fields, "clock": lambda: datetime.now(UTC), **changes})  # noqa: TID251

    return make


def show_job(standin, transport, credentials, job_id):
    client = CphClient(
        transport=transport,
        endpoint=standin.about["url"],
        project_id=standin.about["project_id"],
        credentials=credentials,
        deadline=DEADLINE,
    )
    return client.show_job(job_id)


@pytest.mark.parametrize("security_token", [None, "temporary"])
@pytest.mark.parametrize("job_id", ["signed", "si gn~*é+%2C"])
def test_the_standin_takes_the_signature(standin, transport, make_access_key, job_id, security_token):
    standin.job(job_id=job_id)

    assert isinstance(show_job(standin, transport, make_access_key(security_token=security_token), job_id), Answered)


def test_the_standin_takes_the_signature_of_a_query_with_commas(standin, transport, make_access_key):
    for request_id in ("signed 1", "signed 2"):
        standin.job(request_id=request_id)
    query = urlencode({"request_ids": "signed 1,signed 2", "limit": 100}, quote_via=quote)
    url = f"{standin.about['url']}/v1/{standin.about['project_id']}/cloud-phone/jobs?{query}"

    headers = make_access_key().authorise(CphRequest("GET", url, {"Accept": "application/json"}))

    assert transport.send("GET", url, headers=headers, deadline=DEADLINE).status == 200


def test_the_standin_refuses_another_secret(standin, transport, make_access_key):
    outcome = show_job(standin, transport, make_access_key(secret_key="guess"), "j")

    assert (outcome.pause, outcome.unauthenticated) == (MINUTE, True)


def test_a_refused_key_is_not_tried_again_although_its_next_signature_is_another(cloud, transport, clock):
    def one_second_later():
        clock.now += timedelta(seconds=1)
        return clock.now

    cloud.cph = says(401, {"error_code": "APIGW.0301", "error_msg": "verify aksk signature fail"})
    credentials = AccessKey("access", "secret", project_id="p", clock=one_second_later)
    client = CphClient(
        transport=transport, endpoint=cloud.url, project_id="p", credentials=credentials, deadline=DEADLINE
    )

    assert client.show_job("j") == Unanswered(
        "HTTP 401 APIGW.0301: verify aksk signature fail", MINUTE, unauthenticated=True
    )
    assert len(cloud.questions) == 1
