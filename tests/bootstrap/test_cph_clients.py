"""Clients of several CPH projects, against the stand-in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from app.bootstrap.runtime import Runtime
from app.config.settings import load
from app.cph.client import Unanswered, Unknown
from app.domain.errors import OperatorError
from tests.support.served import Served

NO_JOB = uuid4().hex  # the stand-in is shared with tests that make jobs


@pytest.fixture
def mounted(tmp_path: Path, standin: Served) -> Path:
    """As Kubernetes mounts: `..data` leads to the folder in force. The project logs in with a token."""
    mount(tmp_path, "first", standin.about["token"])
    for name in ("projects.yaml", "token"):
        (tmp_path / name).symlink_to(tmp_path / "..data" / name)
    return tmp_path


def mount(folder: Path, version: str, token: str, *projects: str) -> None:
    inside = folder / version
    inside.mkdir()
    (inside / "token").write_text(token, encoding="utf-8")
    place = {"project_id": "p" * 32, "region": "r", "credentials": {"token_file": str(folder / "token")}}
    made = dict.fromkeys(projects or ("prod",), place)
    (inside / "projects.yaml").write_text(yaml.safe_dump({"projects": made}), encoding="utf-8")
    link = folder / "next"
    link.symlink_to(inside)
    link.replace(folder / "..data")


@pytest.fixture
def several(runtime: Runtime, environment: dict[str, str], tmp_path: Path) -> Callable[..., Runtime]:
    """A bridge with these projects."""

    def make(variables: dict[str, str] | None = None, **projects: Any) -> Runtime:
        file = tmp_path / "several.yaml"
        file.write_text(yaml.safe_dump({"projects": projects}), encoding="utf-8")
        settings = load(environment | {"BRIDGE_PROJECTS_FILE": str(file)})
        return Runtime(settings, environment=variables or {})

    return make


def test_each_project_has_its_own_credentials(several: Callable[..., Runtime], standin: Served) -> None:
    about = standin.about
    place = {"project_id": about["project_id"], "endpoint": about["url"]}
    login = {"user": about["iam_user"], "domain": about["iam_domain"], "password_env": "PASSWORD"}
    made = several(
        {"PASSWORD": about["iam_password"], "TOKEN": about["token"], "EXPIRED": "expired"},
        token=place | {"credentials": {"token_env": "TOKEN"}},
        password=place | {"iam_endpoint": about["url"], "credentials": login},
        expired=place | {"credentials": {"token_env": "EXPIRED"}},
    )
    outcomes = {name: type(client.show_job(NO_JOB)) for name, client in made.cph_clients.items()}
    assert outcomes == {"token": Unknown, "password": Unknown, "expired": Unanswered}
    assert made.cph_clients["token"].credentials_expire_at is None
    assert made.cph_clients["password"].credentials_expire_at is not None


def test_the_clock_of_cph_is_compared_with_ours(several: Callable[..., Runtime], standin: Served) -> None:
    about = standin.about
    place = {"project_id": about["project_id"], "endpoint": about["url"], "credentials": {"token_env": "TOKEN"}}
    client = several({"TOKEN": about["token"]}, prod=place).cph_clients["prod"]
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
def test_keys_sign_wherever_they_come_from(several: Callable[..., Runtime], credentials: dict[str, Any]) -> None:
    made = several(POD | {"SK": "s3cret"}, prod={"project_id": "p", "region": "r", "credentials": credentials})
    assert list(made.cph_clients) == ["prod"]


def test_a_pod_without_an_identity_says_what_is_not_set(several: Callable[..., Runtime]) -> None:
    made = several({}, prod={"project_id": "p", "region": "r", "credentials": {"pod_identity": True}})
    with pytest.raises(OperatorError, match="prod: no pod identity here: HC_CONTAINER"):
        len(made.cph_clients)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"BRIDGE_CPH_TOKEN": "s3cret\nsecond line"}, "token holds what no header can carry"),
        ({"BRIDGE_CPH_TOKEN": "s3cret…"}, "token holds what no header can carry"),
        ({"BRIDGE_CPH_ACCESS_KEY": "A K", "BRIDGE_CPH_SECRET_KEY": "s3cret"}, "access_key holds what no header"),
        ({"BRIDGE_CPH_ENDPOINT": "cph.example"}, "endpoint is no URL such as"),
        ({"BRIDGE_CPH_ENDPOINT": "ftp://cph.example"}, "endpoint is no URL such as"),
        ({"BRIDGE_CPH_ENDPOINT": "https://cph example"}, "endpoint is no URL such as"),
        ({"BRIDGE_CPH_ENDPOINT": "https://s3cret@cph.example"}, "endpoint is no URL such as"),
        ({"BRIDGE_CPH_ENDPOINT": "https://cph.example:99999"}, "endpoint is no URL such as"),
        ({"BRIDGE_IAM_ENDPOINT": "iam.example", "BRIDGE_CPH_TOKEN": ""}, "iam_endpoint is no URL such as"),
    ],
)
def test_what_no_call_could_be_made_with_is_said_at_once(variables: dict[str, str], words: str) -> None:
    """A worker does not start with it, and goes on with what it had if it changes to it."""
    iam = {"BRIDGE_IAM_USER": "u", "BRIDGE_IAM_PASSWORD": "p", "BRIDGE_IAM_DOMAIN": "d"}
    usual = {"BRIDGE_CPH_PROJECT_ID": "p", "BRIDGE_CPH_ENDPOINT": "https://cph.example", "BRIDGE_CPH_TOKEN": "t"}
    if "BRIDGE_CPH_ACCESS_KEY" in variables:
        usual.pop("BRIDGE_CPH_TOKEN")
    with pytest.raises(OperatorError, match=f"^CPH project default: {words}") as caught:
        len(Runtime(load(usual | iam | variables)).cph_clients)
    assert "s3cret" not in str(caught.value)


def test_an_access_key_may_come_by_environment() -> None:
    keys = {"BRIDGE_CPH_ACCESS_KEY": "AK", "BRIDGE_CPH_SECRET_KEY": "s3cret", "BRIDGE_CPH_SECURITY_TOKEN": "t"}
    made = Runtime(load({"BRIDGE_CPH_PROJECT_ID": "p", "BRIDGE_CPH_REGION": "r"} | keys))
    assert list(made.cph_clients) == ["default"]


def test_a_secret_that_is_missing_is_named_with_its_project(several: Callable[..., Runtime]) -> None:
    place = {"project_id": "p", "region": "r", "credentials": {"token_env": "TOKEN"}}
    with pytest.raises(OperatorError, match="CPH project prod: TOKEN holds no secret"):
        len(several(prod=place).cph_clients)


def test_a_project_without_a_rate_of_its_own_goes_by_the_settings(several: Callable[..., Runtime]) -> None:
    place = {"project_id": "p", "region": "r", "credentials": {"token_env": "TOKEN"}}
    made = several(slow=place | {"rate": 0.5}, plain=place)
    assert [made.config.rate_of(name) for name in ("slow", "plain", "gone")] == [0.5, None, None]


def test_a_changed_secret_makes_a_new_client_and_only_that(mounted: Path) -> None:
    made = Runtime(load({"BRIDGE_PROJECTS_FILE": str(mounted / "projects.yaml")}))
    before = made.cph_clients["prod"]
    made.reload()
    assert made.cph_clients["prod"] is before
    mount(mounted, "second", "another-token")
    made.reload()
    assert made.cph_clients["prod"] is not before


def test_a_project_that_is_new_in_the_file_is_taken_in_and_the_others_keep_their_clients(mounted: Path) -> None:
    made = Runtime(load({"BRIDGE_PROJECTS_FILE": str(mounted / "projects.yaml")}))
    before = made.cph_clients["prod"]
    assert made.config.projects == ("prod",)
    mount(mounted, "second", (mounted / "token").read_text(encoding="utf-8"), "prod", "trial")
    made.reload()
    assert set(made.config.projects) == set(made.cph_clients) == {"prod", "trial"}
    assert made.cph_clients["prod"] is before


def test_a_broken_file_leaves_the_clients_as_they_are(mounted: Path) -> None:
    made = Runtime(load({"BRIDGE_PROJECTS_FILE": str(mounted / "projects.yaml")}))
    before = made.cph_clients["prod"]
    (mounted / "first" / "projects.yaml").write_text("projects: {prod: {region: r}}", encoding="utf-8")
    made.reload()
    assert made.cph_clients["prod"] is before
    assert made.config.projects == ("prod",)


def test_a_project_that_has_become_another_under_its_name_logs_in_anew(
    several: Callable[..., Runtime], standin: Served
) -> None:
    about = standin.about
    place = {"endpoint": about["url"], "iam_endpoint": about["url"]}
    login = {"user": about["iam_user"], "domain": about["iam_domain"], "password_env": "PASSWORD"}

    def logins_of(project_id: str, rate: int) -> int:
        project = place | {"project_id": project_id, "credentials": login, "rate": rate}
        made = several({"PASSWORD": about["iam_password"]}, prod=project)
        before = standin.call("GET", "/_standin/calls").json()["iam_tokens"]
        made.cph_clients["prod"].show_job(NO_JOB)
        return standin.call("GET", "/_standin/calls").json()["iam_tokens"] - before

    assert [logins_of(about["project_id"], rate) for rate in (1, 2)] == [1, 0]
    assert logins_of("another" * 4, rate=2) == 1
