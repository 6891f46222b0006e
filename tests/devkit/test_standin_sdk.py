"""The stand-in, checked with the official SDKs: they read its answers as they read those of CPH and IAM."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials, GlobalCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkcore.http.http_config import HttpConfig
from huaweicloudsdkcore.signer.signer import Signer
from huaweicloudsdkcph.v1 import (
    CphClient,
    InstallApkRequest,
    InstallApkRequestBody,
    ListJobsRequest,
    ListShareFilesRequest,
    PhoneProperty,
    RestartCloudPhoneRequest,
    RestartCloudPhoneRequestBody,
    RestartCloudPhoneServerRequest,
    RestartCloudPhoneServerRequestBody,
    RunSyncCommandRequest,
    RunSyncCommandRequestBody,
    ShowJobRequest,
)
from huaweicloudsdkiam.v3 import (
    AuthScope,
    AuthScopeProject,
    IamClient,
    KeystoneCreateUserTokenByPasswordRequest,
    KeystoneCreateUserTokenByPasswordRequestBody,
    KeystoneListProjectsRequest,
    PwdAuth,
    PwdIdentity,
    PwdPassword,
    PwdPasswordUser,
    PwdPasswordUserDomain,
)


def client(kind: Any, credentials: Any, url: str) -> Any:
    builder = kind.new_builder().with_http_config(HttpConfig(timeout=(3, 10)))
    return builder.with_credentials(credentials).with_endpoint(url).build()


def with_token(token: str, project_id: str) -> BasicCredentials:
    """Credentials with a token. The SDK's CPH client only accepts its own class, which has no field for one."""
    credentials = BasicCredentials("none", "none", project_id)

    def sign_request(request: Any) -> Any:
        request.header_params["X-Auth-Token"] = token
        Signer.process_request_uri(request)
        return request

    credentials.sign_request = sign_request
    return credentials


@pytest.fixture(params=["access key", "token"])
def cph(request: pytest.FixtureRequest, standin: Any) -> Iterator[Any]:
    """The SDK's CPH client, with credentials that the stand-in printed."""
    about = standin.about
    credentials_by_kind = {
        "access key": BasicCredentials(about["access_key"], about["secret_key"], about["project_id"]),
        "token": with_token(about["token"], about["project_id"]),
    }
    sdk_client = client(CphClient, credentials_by_kind[request.param], about["url"])
    yield sdk_client
    sdk_client.get_http_client().close()


def show(cph: Any, job_id: str) -> dict[str, Any]:
    answer = cph.show_job(ShowJobRequest(job_id=job_id))
    assert answer.status_code == 200
    shown: dict[str, Any] = answer.to_json_object()
    return shown


def test_the_sdk_reads_a_running_job(standin: Any, cph: Any) -> None:
    job = standin.job(duration_s=60)
    shown = show(cph, job["job_id"])
    assert (shown["job_id"], shown["phone_id"], shown["status"]) == (job["job_id"], job["phone_id"], 1)


def test_the_sdk_reads_a_job_that_succeeded(standin: Any, cph: Any) -> None:
    job = standin.job(duration_s=0, execute_msg="done")
    shown = show(cph, job["job_id"])
    assert (shown["status"], shown["execute_msg"], shown["request_id"]) == (2, "done", job["request_id"])


def test_the_sdk_reads_a_job_that_failed(standin: Any, cph: Any) -> None:
    job = standin.job(duration_s=0, outcome="failed", error_code="CPS.0005", error_msg="It broke.")
    shown = show(cph, job["job_id"])
    assert (shown["status"], shown["error_code"], shown["error_msg"]) == (-1, "CPS.0005", "It broke.")


def test_the_sdk_reports_that_a_job_is_unknown(cph: Any) -> None:
    with pytest.raises(ClientRequestException) as refused:
        show(cph, "unheard-of")
    assert (refused.value.status_code, refused.value.error_code) == (404, "CPS.0011")


def test_the_sdk_reads_a_list_page_by_page(standin: Any, cph: Any) -> None:
    standin.order("/_standin/jobs", [{"job_id": f"sdk-{n}", "request_id": f"sdk {n % 3}~*"} for n in range(105)])
    request_ids = ",".join(f"sdk {n}~*" for n in range(3))
    pages = [cph.list_jobs(ListJobsRequest(request_ids=request_ids, offset=offset)) for offset in (0, 100)]
    assert [len(page.jobs) for page in pages] == [100, 5]
    assert len({job.job_id for page in pages for job in page.jobs}) == 105
    assert {job.status for page in pages for job in page.jobs} == {1}


def test_the_sdk_reports_an_offset_behind_the_last_job(standin: Any, cph: Any) -> None:
    standin.order("/_standin/jobs", [{"job_id": f"sdk-full-{n}", "request_id": "sdk-full"} for n in range(100)])
    standin.order("/_standin/faults", {"kind": "offset_refused", "times": None})
    assert len(cph.list_jobs(ListJobsRequest(request_ids="sdk-full", offset=0)).jobs) == 100
    with pytest.raises(ClientRequestException) as refused:
        cph.list_jobs(ListJobsRequest(request_ids="sdk-full", offset=100))
    assert (refused.value.status_code, refused.value.error_code) == (400, "CPS.0002")


def test_the_sdk_reports_a_region_that_is_forbidden(standin: Any, cph: Any) -> None:
    job_id = standin.job()["job_id"]
    standin.order("/_standin/faults", {"kind": "gateway", "code": "APIGW.0802"})
    with pytest.raises(ClientRequestException) as refused:
        show(cph, job_id)
    assert (refused.value.status_code, refused.value.error_code) == (403, "APIGW.0802")


def test_the_sdk_reads_a_job_of_a_phone_and_a_server(standin: Any, cph: Any) -> None:
    shown = show(cph, standin.job(phone_id="p1", server_id="s1")["job_id"])
    assert (shown["phone_id"], shown["server_id"]) == ("p1", "s1")


def test_the_sdk_restarts_phones_and_finds_the_jobs(standin: Any, cph: Any) -> None:
    standin.order("/_standin/submissions", {"refused": ["gone"]})
    body = RestartCloudPhoneRequestBody(phones=[PhoneProperty(phone_id) for phone_id in ("p1", "p2", "gone")])
    answer = cph.restart_cloud_phone(RestartCloudPhoneRequest(body=body))
    assert answer.status_code == 200
    assert [(job.phone_id, job.error_code) for job in answer.jobs] == [("p1", None), ("p2", None), ("gone", "CPS.0004")]
    job_ids = [job.job_id for job in answer.jobs]
    assert job_ids[2] is None
    listed = cph.list_jobs(ListJobsRequest(request_ids=answer.request_id)).jobs
    assert [job.job_id for job in listed] == job_ids[:2]
    shown = show(cph, job_ids[0])
    assert (shown["phone_id"], shown["request_id"], shown["status"]) == ("p1", answer.request_id, 1)


def test_the_sdk_installs_an_apk(cph: Any) -> None:
    body = InstallApkRequestBody(command="install", content="-r obs://bucket/a.apk", phone_ids=["p1"])
    answer = cph.install_apk(InstallApkRequest(body=body))
    assert (answer.status_code, [job.phone_id for job in answer.jobs]) == (200, ["p1"])
    assert show(cph, answer.jobs[0].job_id)["status"] == 1


def test_the_sdk_runs_a_command_to_its_end(standin: Any, cph: Any) -> None:
    standin.order("/_standin/submissions", {"script": {"execute_msg": "Linux"}})
    body = RunSyncCommandRequestBody(command="shell", content="uname", phone_ids=["p1"])
    answer = cph.run_sync_command(RunSyncCommandRequest(body=body))
    (job,) = answer.jobs
    assert (answer.status_code, job.phone_id, job.status, job.execute_msg) == (200, "p1", 2, "Linux")


def test_the_sdk_restarts_servers(cph: Any) -> None:
    body = RestartCloudPhoneServerRequestBody(server_ids=["s1"])
    answer = cph.restart_cloud_phone_server(RestartCloudPhoneServerRequest(body=body))
    assert (answer.status_code, answer.jobs[0].server_id) == (200, "s1")
    assert show(cph, answer.jobs[0].job_id)["server_id"] == "s1"


def test_the_sdk_reports_what_is_wrong_with_its_body(cph: Any) -> None:
    with pytest.raises(ClientRequestException) as refused:
        cph.restart_cloud_phone(RestartCloudPhoneRequest(body=RestartCloudPhoneRequestBody(phones=[])))
    assert (refused.value.status_code, refused.value.error_code) == (400, "CPS.0002")


def test_a_wrong_secret_key_is_refused(standin: Any) -> None:
    about = standin.about
    forger = client(CphClient, BasicCredentials(about["access_key"], "guess", about["project_id"]), about["url"])
    with pytest.raises(ClientRequestException) as refused:
        show(forger, "x")
    forger.get_http_client().close()
    assert (refused.value.status_code, refused.value.error_code) == (401, "APIGW.0301")


@pytest.mark.parametrize(
    ("signed_at", "code"),
    [
        (f"{datetime.now(UTC) - timedelta(minutes=16):%Y%m%dT%H%M%SZ}", "APIGW.0303"),  # noqa: TID251 the real clock
        ("yesterday", "APIGW.0301"),
    ],
    ids=["too old", "no time"],
)
def test_a_signature_of_another_time_is_refused(standin: Any, signed_at: str, code: str) -> None:
    claim = f"SDK-HMAC-SHA256 Access={standin.about['access_key']}, SignedHeaders=host, Signature={'0' * 64}"
    path = f"/v1/{standin.about['project_id']}/cloud-phone/jobs/x"
    answer = standin.call("GET", path, headers={"Authorization": claim, "X-Sdk-Date": signed_at})
    assert (answer.status_code, answer.json()["error_code"]) == (401, code)


def token_request(about: dict[str, Any], password: str) -> KeystoneCreateUserTokenByPasswordRequest:
    user = PwdPasswordUser(PwdPasswordUserDomain(about["iam_domain"]), about["iam_user"], password)
    identity = PwdIdentity(["password"], PwdPassword(user))
    scope = AuthScope(project=AuthScopeProject(id=about["project_id"]))
    body = KeystoneCreateUserTokenByPasswordRequestBody(PwdAuth(identity, scope))
    return KeystoneCreateUserTokenByPasswordRequest(nocatalog="true", body=body)


@pytest.fixture
def iam(standin: Any) -> Iterator[Any]:
    sdk_client = client(IamClient, GlobalCredentials("any", "any", "any"), standin.about["url"])
    yield sdk_client
    sdk_client.get_http_client().close()


def test_the_sdk_gets_a_token_that_opens_cph(standin: Any, iam: Any) -> None:
    answer = iam.keystone_create_user_token_by_password(token_request(standin.about, standin.about["iam_password"]))
    assert answer.status_code == 201
    ends_at = datetime.strptime(answer.token.expires_at, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    life = ends_at - datetime.now(UTC)  # noqa: TID251 the real clock
    assert timedelta(hours=23, minutes=59) < life <= timedelta(hours=24, seconds=1)
    path = f"/v1/{standin.about['project_id']}/cloud-phone/jobs/x"
    admitted = standin.call("GET", path, headers={"X-Auth-Token": answer.x_subject_token})
    assert admitted.json()["error_code"] == "CPS.0011"


def test_the_sdk_reports_that_the_password_is_wrong(standin: Any, iam: Any) -> None:
    with pytest.raises(ClientRequestException) as refused:
        iam.keystone_create_user_token_by_password(token_request(standin.about, "guess"))
    assert refused.value.status_code == 401
    assert refused.value.error_msg == "The username or password is wrong."


@pytest.mark.parametrize("body", [b"", b"[]", b'{"auth": {"identity": {}}}'])
def test_a_token_request_without_the_needed_fields_is_refused_in_iams_shape(standin: Any, body: bytes) -> None:
    answer = standin.call("POST", "/v3/auth/tokens", data=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["title"] == "Bad Request"


def test_the_sdk_lists_shared_files_which_starts_jobs(standin: Any, cph: Any) -> None:
    answer = cph.list_share_files(ListShareFilesRequest(server_ids="s1,s2", path="/data"))
    assert [job.server_id for job in answer.jobs] == ["s1", "s2"]
    assert {job.job_id for job in cph.list_jobs(ListJobsRequest(request_ids=answer.request_id)).jobs} == {
        job.job_id for job in answer.jobs
    }


@pytest.mark.parametrize(("name", "found"), [("standin", 1), ("another", 0)])
def test_the_sdk_finds_a_project_by_its_name(standin: Any, name: str, found: int) -> None:
    about = standin.about
    iam = client(IamClient, GlobalCredentials(about["access_key"], about["secret_key"], "d" * 32), about["url"])
    projects = iam.keystone_list_projects(KeystoneListProjectsRequest(name=name)).projects
    assert [project.id for project in projects] == [about["project_id"]] * found


def test_a_login_may_name_its_project(standin: Any) -> None:
    about = standin.about
    person = {"name": about["iam_user"], "password": about["iam_password"], "domain": {"name": about["iam_domain"]}}
    identity = {"methods": ["password"], "password": {"user": person}}

    def login(scope: dict[str, str]) -> int:
        auth = {"auth": {"identity": identity, "scope": {"project": scope}}}
        status: int = standin.call("POST", "/v3/auth/tokens", json=auth).status_code
        return status

    assert [login({"name": name}) for name in ("standin", "another")] == [201, 401]
