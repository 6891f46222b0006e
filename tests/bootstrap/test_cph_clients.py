"""Clients of several CPH projects, against the stand-in."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from app.bootstrap.runtime import Runtime
from app.config.settings import load
from app.cph.client import Unanswered, Unknown
from app.cph.credentials import CphRequest
from app.domain.errors import OperatorError
from app.store.engine import keys
from tests.support.certificates import Authority
from tests.support.connect_proxy import connect_proxy
from tests.support.scripted_server import Peer, serving
from tests.support.served import Served
from tests.support.server_tls import server_context

NO_JOB = uuid4().hex  # the stand-in is shared with tests that create jobs


@pytest.fixture
def mounted_folder(tmp_path: Path, standin: Served) -> Path:
    """A folder as Kubernetes mounts it: `..data` links to the current version. The project has a token."""
    mount(tmp_path, "first", standin.about["token"])
    for name in ("projects.yaml", "token"):
        (tmp_path / name).symlink_to(tmp_path / "..data" / name)
    return tmp_path


def mount(folder: Path, version: str, token: str, *projects: str) -> None:
    inside = folder / version
    inside.mkdir()
    (inside / "token").write_text(token, encoding="utf-8")
    project = {"project_id": "p" * 32, "region": "r", "credentials": {"token_file": str(folder / "token")}}
    all_projects = dict.fromkeys(projects or ("prod",), project)
    (inside / "projects.yaml").write_text(yaml.safe_dump({"projects": all_projects}), encoding="utf-8")
    link = folder / "next"
    link.symlink_to(inside)
    link.replace(folder / "..data")


@pytest.fixture
def make_runtime(runtime: Runtime, environment: dict[str, str], tmp_path: Path) -> Callable[..., Runtime]:
    """make_runtime(variables, name=project, …) makes a Runtime with these projects."""

    def make(variables: dict[str, str] | None = None, **projects: Any) -> Runtime:
        file = tmp_path / "projects-of-runtime.yaml"
        file.write_text(yaml.safe_dump({"projects": projects}), encoding="utf-8")
        settings = load(environment | {"BRIDGE_PROJECTS_FILE": str(file)})
        return Runtime(settings, environment=variables or {})

    return make


@pytest.mark.parametrize("hours", [1, -24])
def test_calls_are_signed_with_the_right_time_while_redis_clock_is_corrected(
    make_runtime: Callable[..., Runtime], hours: int
) -> None:
    """The gateway refuses a signature that is a quarter of an hour off. Redis' clock is right again here."""
    credentials = {"access_key_env": "AK", "secret_key_env": "SK"}
    project = {"project_id": "p" * 32, "endpoint": "https://cph.example", "credentials": credentials}
    runtime = make_runtime({"AK": "a", "SK": "s"}, keys=project)
    runtime.stores.redis.hset(keys.clock(), "correction", hours * 3_600_000)
    signed = runtime.cph_client("keys")._credentials.authorise(CphRequest("GET", "https://cph.example/v1", {}))
    now, _ = runtime.stores.redis.time()
    signed_at = datetime.strptime(signed["X-Sdk-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    assert abs(signed_at.timestamp() - now) < 5
    assert abs(runtime.stores.clock().timestamp() - now - hours * 3_600) < 5


def test_each_project_has_its_own_credentials(make_runtime: Callable[..., Runtime], standin: Served) -> None:
    about = standin.about
    project = {"project_id": about["project_id"], "endpoint": about["url"]}
    login = {"user": about["iam_user"], "domain": about["iam_domain"], "password_env": "PASSWORD"}
    runtime = make_runtime(
        {"PASSWORD": about["iam_password"], "TOKEN": about["token"], "EXPIRED": "expired"},
        token=project | {"credentials": {"token_env": "TOKEN"}},
        password=project | {"iam_endpoint": about["url"], "credentials": login},
        expired=project | {"credentials": {"token_env": "EXPIRED"}},
    )
    outcomes = {name: type(client.show_job(NO_JOB)) for name, client in runtime.cph_clients.items()}
    assert outcomes == {"token": Unknown, "password": Unknown, "expired": Unanswered}
    assert runtime.cph_clients["token"].credentials_expire_at is None
    assert runtime.cph_clients["password"].credentials_expire_at is not None


def test_the_clock_of_cph_is_compared_with_ours(make_runtime: Callable[..., Runtime], standin: Served) -> None:
    about = standin.about
    project = {"project_id": about["project_id"], "endpoint": about["url"], "credentials": {"token_env": "TOKEN"}}
    client = make_runtime({"TOKEN": about["token"]}, prod=project).cph_clients["prod"]
    assert client.clock_ahead is None
    client.show_job(NO_JOB)
    assert client.clock_ahead is not None
    assert abs(client.clock_ahead.total_seconds()) < 60


POD = {
    "HC_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/v1/credentials",
    "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/var/run/token",
}


@pytest.mark.parametrize(
    "credentials",
    [{"access_key": "AK", "secret_key_env": "SK"}, {"agency": True}, {"pod_identity": True}],
    ids=["access key", "agency", "pod identity"],
)
def test_keys_sign_wherever_they_come_from(make_runtime: Callable[..., Runtime], credentials: dict[str, Any]) -> None:
    runtime = make_runtime(POD | {"SK": "s3cret"}, prod={"project_id": "p", "region": "r", "credentials": credentials})
    assert list(runtime.cph_clients) == ["prod"]


def test_a_pod_without_an_identity_says_what_is_not_set(make_runtime: Callable[..., Runtime]) -> None:
    runtime = make_runtime({}, prod={"project_id": "p", "region": "r", "credentials": {"pod_identity": True}})
    with pytest.raises(OperatorError, match="prod: no pod identity here: HC_CONTAINER"):
        len(runtime.cph_clients)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"BRIDGE_CPH_TOKEN": "s3cret\nsecond line"}, "token has characters that no HTTP header may have"),
        ({"BRIDGE_CPH_TOKEN": "s3cret…"}, "token has characters that no HTTP header may have"),
        (
            {"BRIDGE_CPH_ACCESS_KEY": "A K", "BRIDGE_CPH_SECRET_KEY": "s3cret"},
            "access_key has characters that no HTTP header",
        ),
    ],
)
def test_what_no_call_could_be_made_with_is_reported_at_once(variables: dict[str, str], message: str) -> None:
    """A worker does not start with such a value. If a reload brings one, it keeps its previous clients."""
    iam = {"BRIDGE_IAM_USER": "u", "BRIDGE_IAM_PASSWORD": "p", "BRIDGE_IAM_DOMAIN": "d"}
    usual = {"BRIDGE_CPH_PROJECT_ID": "p", "BRIDGE_CPH_ENDPOINT": "https://cph.example", "BRIDGE_CPH_TOKEN": "t"}
    if "BRIDGE_CPH_ACCESS_KEY" in variables:
        usual.pop("BRIDGE_CPH_TOKEN")
    with pytest.raises(OperatorError, match=f"^CPH project default: {message}") as caught:
        len(Runtime(load(usual | iam | variables)).cph_clients)
    assert "s3cret" not in str(caught.value)


def test_an_access_key_may_come_by_environment() -> None:
    keys = {"BRIDGE_CPH_ACCESS_KEY": "AK", "BRIDGE_CPH_SECRET_KEY": "s3cret", "BRIDGE_CPH_SECURITY_TOKEN": "t"}
    runtime = Runtime(load({"BRIDGE_CPH_PROJECT_ID": "p", "BRIDGE_CPH_REGION": "r"} | keys))
    assert list(runtime.cph_clients) == ["default"]


def test_a_secret_that_is_missing_is_named_with_its_project(make_runtime: Callable[..., Runtime]) -> None:
    project = {"project_id": "p", "region": "r", "credentials": {"token_env": "TOKEN"}}
    with pytest.raises(OperatorError, match="CPH project prod: TOKEN holds no secret"):
        len(make_runtime(prod=project).cph_clients)


def test_a_project_without_a_rate_of_its_own_goes_by_the_settings(make_runtime: Callable[..., Runtime]) -> None:
    project = {"project_id": "p", "region": "r", "credentials": {"token_env": "TOKEN"}}
    runtime = make_runtime(slow=project | {"rate": 0.5}, plain=project)
    assert [runtime.config.rate_of(name) for name in ("slow", "plain", "gone")] == [0.5, None, None]


def test_a_changed_secret_makes_a_new_client_and_only_that(mounted_folder: Path) -> None:
    runtime = Runtime(load({"BRIDGE_PROJECTS_FILE": str(mounted_folder / "projects.yaml")}))
    before = runtime.cph_clients["prod"]
    runtime.reload()
    assert runtime.cph_clients["prod"] is before
    mount(mounted_folder, "second", "another-token")
    runtime.reload()
    assert runtime.cph_clients["prod"] is not before


def test_a_project_that_is_new_in_the_file_is_added_and_the_others_keep_their_clients(mounted_folder: Path) -> None:
    runtime = Runtime(load({"BRIDGE_PROJECTS_FILE": str(mounted_folder / "projects.yaml")}))
    before = runtime.cph_clients["prod"]
    assert runtime.config.projects == ("prod",)
    mount(mounted_folder, "second", (mounted_folder / "token").read_text(encoding="utf-8"), "prod", "trial")
    runtime.reload()
    assert set(runtime.config.projects) == set(runtime.cph_clients) == {"prod", "trial"}
    assert runtime.cph_clients["prod"] is before


def test_a_broken_file_leaves_the_clients_as_they_are(mounted_folder: Path) -> None:
    runtime = Runtime(load({"BRIDGE_PROJECTS_FILE": str(mounted_folder / "projects.yaml")}))
    before = runtime.cph_clients["prod"]
    (mounted_folder / "first" / "projects.yaml").write_text("projects: {prod: {region: r}}", encoding="utf-8")
    runtime.reload()
    assert runtime.cph_clients["prod"] is before
    assert runtime.config.projects == ("prod",)


def test_a_project_that_has_become_another_under_its_name_logs_in_again(
    make_runtime: Callable[..., Runtime], standin: Served
) -> None:
    about = standin.about
    endpoints = {"endpoint": about["url"], "iam_endpoint": about["url"]}
    login = {"user": about["iam_user"], "domain": about["iam_domain"], "password_env": "PASSWORD"}

    def logins_of(project_id: str, rate: int) -> int:
        project = endpoints | {"project_id": project_id, "credentials": login, "rate": rate}
        runtime = make_runtime({"PASSWORD": about["iam_password"]}, prod=project)
        before = standin.call("GET", "/_standin/calls").json()["iam_tokens"]
        runtime.cph_clients["prod"].show_job(NO_JOB)
        return standin.call("GET", "/_standin/calls").json()["iam_tokens"] - before

    assert [logins_of(about["project_id"], rate) for rate in (1, 2)] == [1, 0]
    assert logins_of("another" * 4, rate=2) == 1


def test_cph_and_iam_are_reached_through_the_projects_proxy(
    make_runtime: Callable[..., Runtime], standin: Served
) -> None:
    about = standin.about
    port = about["url"].rpartition(":")[2]
    endpoints = {"endpoint": f"http://cph.example:{port}", "iam_endpoint": f"http://iam.example:{port}/v3"}
    login = {"user": about["iam_user"], "domain": about["iam_domain"], "password_env": "PASSWORD"}
    project = endpoints | {"project_id": about["project_id"], "credentials": login, "proxy_env": "PROXY"}
    with connect_proxy(login="bridge:s3cret") as proxy:
        secrets = {"PASSWORD": about["iam_password"], "PROXY": f"http://bridge:s3cret@{proxy.address}"}
        assert make_runtime(secrets, prod=project).cph_clients["prod"].show_job(NO_JOB) == Unknown()
        assert proxy.targets == [f"iam.example:{port}", f"cph.example:{port}"]


def test_the_settings_proxy_serves_a_project_without_one(standin: Served, environment: dict[str, str]) -> None:
    about = standin.about
    with connect_proxy() as proxy:
        project = {
            "BRIDGE_CPH_PROJECT_ID": about["project_id"],
            "BRIDGE_CPH_ENDPOINT": f"http://cph.example:{about['url'].rpartition(':')[2]}",
            "BRIDGE_CPH_TOKEN": about["token"],
            "BRIDGE_CPH_PROXY": f"http://{proxy.address}",
        }
        assert Runtime(load(environment | project)).cph_client("default").show_job(NO_JOB) == Unknown()
        assert len(proxy.targets) == 1


def test_a_project_whose_authority_cannot_be_read_is_told(make_runtime: Callable[..., Runtime]) -> None:
    project = {"project_id": "p", "region": "cn-north-4", "credentials": {"token_env": "TOKEN"}, "ca_file": "/absent"}
    with pytest.raises(OperatorError, match=r"^CPH project prod: ca_file: cannot read /absent: No such file"):
        len(make_runtime({"TOKEN": "t"}, prod=project).cph_clients)


def test_a_cph_of_a_private_authority_is_trusted_by_its_file(
    make_runtime: Callable[..., Runtime], tmp_path: Path
) -> None:
    def unknown(peer: Peer) -> None:
        peer.request()
        peer.send(b'HTTP/1.1 404 Not Found\r\nContent-Length: 25\r\n\r\n{"error_code":"CPS.0011"}')

    authority = Authority(tmp_path)
    with serving() as serve:
        server = serve(unknown, server_context(authority.certificate("127.0.0.1")))
        project = {"project_id": "p", "endpoint": server.url, "credentials": {"token_env": "TOKEN"}}
        runtime = make_runtime({"TOKEN": "t"}, trusting=project | {"ca_file": str(authority.file)}, other=project)
        outcomes = {name: client.show_job(NO_JOB) for name, client in runtime.cph_clients.items()}
    assert outcomes["trusting"] == Unknown()
    assert "certificate refused" in outcomes["other"].reason  # type: ignore[union-attr]


def test_a_region_without_cph_is_told_in_the_log(
    make_runtime: Callable[..., Runtime], caplog: pytest.LogCaptureFixture
) -> None:
    project = {"project_id": "p", "credentials": {"token_env": "TOKEN"}}
    runtime = make_runtime(
        {"TOKEN": "t"}, known=project | {"region": "cn-north-4"}, odd=project | {"region": "cn-nroth-4"}
    )
    len(runtime.cph_clients)
    [record] = [record for record in caplog.records if record.msg == "region.unknown"]
    assert (record.project, record.region) == ("odd", "cn-nroth-4")  # type: ignore[attr-defined]
    assert record.hint.startswith("did you mean cn-north-4? ")  # type: ignore[attr-defined]
