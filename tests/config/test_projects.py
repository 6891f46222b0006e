"""The projects file: CPH projects with their credentials."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from app.config.projects import (
    AccessKeyCredentials,
    AgencyCredentials,
    PasswordCredentials,
    PodIdentityCredentials,
    SecretSource,
    TokenCredentials,
    read_projects,
)
from app.domain.errors import OperatorError
from tests.support.paths import ROOT

GUIDE = ROOT / "docs" / "settings.md"
GOOD: dict[str, Any] = {"project_id": "p", "region": "ap-southeast-1", "credentials": {"token_env": "TOKEN"}}
LOGIN = {"user": "u", "domain": "d", "password_file": "/pw"}


@pytest.fixture
def projects_file(tmp_path: Path) -> Path:
    return tmp_path / "projects.yaml"


def write_project(projects_file: Path, project: Any, name: str = "prod") -> Path:
    projects_file.write_text(yaml.safe_dump({"projects": {name: project}}), encoding="utf-8")
    return projects_file


def test_the_example_of_the_guide_is_read(projects_file: Path) -> None:
    projects_file.write_text(GUIDE.read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0], encoding="utf-8")
    production, trial = read_projects(projects_file).values()
    login = PasswordCredentials(user="watcher", domain="acme", password=SecretSource(file=Path("/run/secrets/watcher")))
    assert (production.region, production.credentials, production.rate) == ("ap-southeast-1", login, 20)
    assert (trial.endpoint, trial.credentials) == (
        "https://cph.example",
        TokenCredentials(token=SecretSource(env="TRIAL_TOKEN")),
    )


@pytest.mark.parametrize(
    ("credentials", "kind"),
    [
        ({"token_file": "/t"}, TokenCredentials),
        (LOGIN, PasswordCredentials),
        ({"access_key": "AK", "secret_key_env": "SK"}, AccessKeyCredentials),
        ({"access_key_file": "/ak", "secret_key_file": "/sk", "security_token_file": "/st"}, AccessKeyCredentials),
        ({"agency": True}, AgencyCredentials),
        ({"pod_identity": True}, PodIdentityCredentials),
    ],
)
def test_credentials_of_every_kind_are_read(projects_file: Path, credentials: dict[str, Any], kind: type) -> None:
    project = read_projects(write_project(projects_file, GOOD | {"credentials": credentials}))["prod"]
    assert isinstance(project.credentials, kind)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"project_id": None}, "projects.prod.project_id: "),
        ({"region": "Not a region"}, "projects.prod.region: "),
        ({"region": None}, "projects.prod: give one of region and endpoint"),
        ({"endpoint": "https://cph.example"}, "projects.prod: give one of region and endpoint"),
        ({"region": None, "endpoint": "cph.example"}, "projects.prod.endpoint: "),
        ({"region": "cn-north-4a"}, "projects.prod.region: is an availability zone; its region is cn-north-4"),
        ({"region": None, "endpoint": "https://u:s3cret@cph.example"}, "projects.prod.endpoint: must have no user and"),
        ({"proxy": "http://u:s3cret@proxy:3128"}, "projects.prod: proxy has a password, which does not belong in"),
        ({"proxy": "socks5://proxy:1080"}, "projects.prod: proxy: a proxy by socks5 is not supported"),
        ({"proxy": "http://proxy:3128", "proxy_env": "PROXY"}, "projects.prod: give one of proxy and proxy_env"),
        ({"regoin": "x"}, "projects.prod.regoin: unknown"),
        ({"rate": 0}, "projects.prod.rate: "),
        ({"credentials": None}, "projects.prod: credentials are missing"),
        ({"credentials": "token"}, "projects.prod.credentials: give one of: token"),
        ({"credentials": {"tokn_file": "/t"}}, "projects.prod.credentials: give one of: token"),
        ({"credentials": {"token_file": 7}}, "projects.prod.credentials: token_file must be a string"),
        ({"credentials": {"token_file": "/t", "user": "u"}}, "projects.prod.credentials.user: unknown"),
        (
            {"credentials": {"token_file": "/t", "token_env": "T"}},
            "projects.prod.credentials: give one of token_file and token_env",
        ),
        ({"credentials": {"user": "u", "domain": "d"}}, "projects.prod.credentials.password: is missing"),
        ({"credentials": {"agency": False}}, "projects.prod.credentials.agency: "),
        (
            {"region": None, "endpoint": "https://cph.example", "credentials": LOGIN},
            "projects.prod: without a region, user and password need iam_endpoint",
        ),
    ],
)
def test_what_is_wrong_is_named_by_its_path(projects_file: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(OperatorError) as refused:
        read_projects(write_project(projects_file, GOOD | change))
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("credentials", "field"),
    [
        ({"token": "hunter2"}, "token"),
        ({"user": "u", "domain": "d", "password": "hunter2"}, "password"),
        ({"access_key": "AK", "secret_key": "hunter2"}, "secret_key"),
        ({"access_key": "AK", "secret_key_env": "SK", "security_token": "hunter2"}, "security_token"),
    ],
)
def test_a_secret_in_the_file_is_refused_with_the_way_out(
    projects_file: Path, credentials: dict[str, str], field: str
) -> None:
    with pytest.raises(OperatorError) as refused:
        read_projects(write_project(projects_file, GOOD | {"credentials": credentials}))
    assert f"projects.prod.credentials.{field}: a secret does not belong in this file" in str(refused.value)
    assert f"write {field}_file (a mounted file) or {field}_env" in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"projects: [", "line 1: "),
        (b"projects: \x07", "not YAML"),
        (b"\xff\xfe\xfd", "not UTF-8"),
        (b"", "must be a mapping"),
        (b"projects: {}", "projects: "),
        (b"projects: {'a:b': {}}", "projects.a:b"),
        (b"projects: {a: {project_id: p}, a: {project_id: q}}", "line 1: duplicate key a"),
    ],
)
def test_a_file_that_is_none_of_ours_is_refused(projects_file: Path, content: bytes, message: str) -> None:
    projects_file.write_bytes(content)
    with pytest.raises(OperatorError) as refused:
        read_projects(projects_file)
    assert str(projects_file) in str(refused.value)
    assert message in str(refused.value)


def test_a_file_that_is_not_there_is_named(projects_file: Path) -> None:
    with pytest.raises(OperatorError, match=f"cannot read {projects_file}: No such file"):
        read_projects(projects_file)


def test_a_secret_is_read_where_it_is(tmp_path: Path) -> None:
    mounted = tmp_path / "token"
    mounted.write_text("s3cret\n", encoding="utf-8")
    assert SecretSource(file=mounted).read({}) == "s3cret"
    assert SecretSource(env="TOKEN").read({"TOKEN": "s3cret"}) == "s3cret"


def test_a_source_without_a_secret_is_named(tmp_path: Path) -> None:
    empty = tmp_path / "token"
    empty.write_text("\n", encoding="utf-8")
    for source, name in ((SecretSource(file=empty), str(empty)), (SecretSource(env="TOKEN"), "TOKEN")):
        with pytest.raises(OperatorError, match=f"{name} holds no secret"):
            source.read({})
