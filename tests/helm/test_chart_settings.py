"""The bridge reads the settings and files that the chart gives it."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from pydantic import SecretStr

from app.config.denied_hosts import denied
from app.config.network_grants import read_grants
from app.config.projects import (
    AccessKeyCredentials,
    AgencyCredentials,
    PasswordCredentials,
    PodIdentityCredentials,
    SecretSource,
    TokenCredentials,
    read_projects,
)
from app.config.settings import FILE_SUFFIX, PREFIX, Settings, load
from app.config.tenants import read_tenants
from tests.helm.generated import OFFERED
from tests.helm.test_chart_files import EXPECTED
from tests.support.rendered_chart import CI_VALUES, ROLES, Rendered, merged, render, values_of

pytestmark = pytest.mark.slow  # skipped on laptops: Helm and the validators take a gigabyte

HELPERS = {"BRIDGE_REDIS_PASSWORD"}  # Kubernetes substitutes it in the URL


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", CI_VALUES)
def test_every_variable_is_a_setting(name: str, role: str) -> None:
    known = {PREFIX + field.upper() for field in {*Settings.model_fields, *EXPECTED}}
    container = render(values_of(name)).pod(role)["spec"]["containers"][0]
    given = {entry["name"] for entry in container["env"]} | set(render(values_of(name)).environment(role))
    ours = {
        variable.removesuffix(FILE_SUFFIX) if variable.removesuffix(FILE_SUFFIX) in known else variable
        for variable in given
        if variable.startswith(PREFIX)
    }
    assert ours - HELPERS <= known


def without_files(environment: dict[str, str]) -> dict[str, str]:
    """Removes variables that name files of secrets, which do not exist here."""
    return {name: value for name, value in environment.items() if not value.startswith("/run/bridge/secrets/")}


@pytest.mark.parametrize("role", ROLES)
def test_what_nobody_changed_is_as_the_code_has_it(role: str) -> None:
    settings = load(without_files(render(values_of("trial")).environment(role)))
    for name in set(OFFERED) - {"deny_hosts"}:
        assert getattr(settings, name) == Settings.model_fields[name].default, name


def test_changed_settings_arrive_as_they_were_written() -> None:
    changed: dict[str, Any] = {
        "retention_s": 123_456_789,
        "retry_schedule": [0.5, 2_000_000],
        "allow_http": True,
        "allow_networks": ["10.0.0.0/8", "fd00::/8"],
        "log_level": "DEBUG",
    }
    settings = load(without_files(render(merged(values_of("trial"), {"settings": changed})).environment("sender")))
    assert settings.retention_s == 123_456_789
    assert settings.retry_schedule == (0.5, 2_000_000)
    assert settings.allow_http is True
    assert [str(network) for network in settings.allow_networks] == changed["allow_networks"]
    assert settings.log_level == "DEBUG"


def test_callbacks_never_go_to_the_bridge_or_its_redis() -> None:
    values = merged(values_of("trial"), {"settings": {"deny_hosts": ["intranet.example:8443"]}})
    hosts = {
        (denied_host.host, denied_host.port)
        for denied_host in denied(load(without_files(render(values).environment("sender"))), {})
    }
    assert ("intranet.example", 8443) in hosts
    assert ("bridge-cph-webhook-bridge-api.phones.svc.cluster.local", 80) in hosts
    url = urlsplit(render(values).one("Secret")["stringData"]["redis-url"])
    assert url.hostname == "bridge-cph-webhook-bridge-redis.phones.svc.cluster.local"  # denied as any Redis is


WAYS_IN: list[tuple[dict[str, Any], set[str]]] = [
    ({}, set()),
    ({"ingress": {"hosts": ["bridge.example"]}}, set()),  # it is switched off
    ({"ingress": {"enabled": True, "hosts": ["bridge.example", "*.example"]}}, {"bridge.example"}),
    (
        {"httpRoute": {"enabled": True, "parentRefs": [{"name": "g"}], "hostnames": ["a.example", "b.example"]}},
        {"a.example", "b.example"},
    ),
]


@pytest.mark.parametrize(("values", "names"), WAYS_IN)
def test_callbacks_never_go_to_the_names_by_which_callers_come(values: dict[str, Any], names: set[str]) -> None:
    settings = load(without_files(render(merged(values_of("trial"), values)).environment("sender")))
    assert set(settings.deny_hosts) == {"bridge-cph-webhook-bridge-api.phones.svc.cluster.local:80"} | names
    assert {denied_host.host for denied_host in denied(settings, {}) if not denied_host.port} == names


def config_file(rendered: Rendered, file: str, tmp_path: Path) -> Path:
    """A copy of a file of one of the ConfigMaps."""
    (text,) = (found["data"][file] for found in rendered.of("ConfigMap") if file in found["data"])
    (tmp_path / file).write_text(text, encoding="utf-8")
    return tmp_path / file


def test_projects_are_read_as_they_were_written(tmp_path: Path) -> None:
    rendered = render(values_of("production"))
    projects = read_projects(config_file(rendered, "projects.yaml", tmp_path))
    assert {name: type(project.credentials) for name, project in projects.items()} == {
        "user": PasswordCredentials,
        "own-iam": PasswordCredentials,
        "keys": AccessKeyCredentials,
        "temporary": AccessKeyCredentials,
        "node": AgencyCredentials,
        "pod": PodIdentityCredentials,
    }
    assert projects["user"].rate == 20
    assert projects["own-iam"].iam_endpoint == "https://iam.example"
    assert projects["own-iam"].proxy == SecretSource(file=Path("/run/bridge/cph/own-iam/proxy"))
    assert projects["own-iam"].ca_file == Path("/run/bridge/cph/own-iam/ca")
    assert projects["keys"].credentials.access_key.value == SecretStr("AKIDEXAMPLE")
    trial = read_projects(config_file(render(values_of("trial")), "projects.yaml", tmp_path))
    assert isinstance(trial["default"].credentials, TokenCredentials)


def files_of(tree: Any) -> set[str]:
    if isinstance(tree, dict):
        return set().union(*(files_of(part) for part in tree.values()))
    if isinstance(tree, list):
        return set().union(*(files_of(part) for part in tree))
    return {tree} if isinstance(tree, str) and tree.startswith("/run/bridge/") else set()


@pytest.mark.parametrize(
    ("file", "volume", "role"),
    [("projects.yaml", "cph", "poller"), ("grants.yaml", "grants-tls", "sender"), ("grants.yaml", "grants-tls", "api")],
)
def test_each_file_that_is_named_is_mounted(file: str, volume: str, role: str, tmp_path: Path) -> None:
    rendered = render(values_of("production"))
    named = files_of(yaml.safe_load(config_file(rendered, file, tmp_path).read_text(encoding="utf-8")))
    (found,) = (each for each in rendered.pod(role)["spec"]["volumes"] if each["name"] == volume)
    provided = {
        f"/run/bridge/{volume}/{item['path']}"
        for source in found["projected"]["sources"]
        for item in source["secret"]["items"]
    }
    assert named == provided != set()


def test_grants_are_read_as_they_were_written(tmp_path: Path) -> None:
    grants = read_grants(config_file(render(values_of("production")), "grants.yaml", tmp_path))
    assert [str(network) for network in grants["bots of team b"].networks] == ["10.96.0.0/16"]
    tls = grants["a partner"].tls
    assert tls
    assert (tls.ca, tls.certificate, tls.key) == tuple(
        f"/run/bridge/grants-tls/571c51e5/{part}" for part in ("ca", "certificate", "key")
    )


@pytest.mark.parametrize(
    ("redis", "url", "sentinels"),
    [
        ({"url": "redis://redis.data:6379/3"}, "redis://redis.data:6379/3", ""),
        ({"host": "redis.data", "database": 2}, "redis://redis.data:6379/2", ""),
        ({"host": "r", "passwordSecret": {"name": "s"}}, "redis://:$(BRIDGE_REDIS_PASSWORD)@r:6379/0", ""),
        (
            {"host": "r", "username": "u", "passwordSecret": {"name": "s"}, "tls": {"enabled": True}},
            "rediss://u:$(BRIDGE_REDIS_PASSWORD)@r:6379/0",
            "",
        ),
        (
            {"host": "r", "tls": {"enabled": True, "caSecret": {"name": "ca"}}},
            "rediss://r:6379/0?ssl_ca_certs=/run/bridge/redis-ca/ca.crt",
            "",
        ),
        (
            {
                "url": "rediss://r?x=1&ssl_ca_certs=/run/bridge/redis-ca/ca.crt",
                "tls": {"caSecret": {"name": "ca"}},
            },
            "rediss://r?x=1&ssl_ca_certs=/run/bridge/redis-ca/ca.crt",
            "",
        ),
        ({"sentinel": {"nodes": ["a:1", "b:2"]}}, "redis://sentinel:6379/0", "a:1,b:2"),
        ({"sentinel": {"nodes": ["a:1"]}, "tls": {"enabled": True}}, "rediss://sentinel:6379/0", "a:1"),
    ],
)
def test_redis_is_found_in_each_way(redis: dict[str, Any], url: str, sentinels: str) -> None:
    values = {name: part for name, part in values_of("trial").items() if name != "redis"}
    values |= {"redis": redis, "secrets": {"secretKeys": {"allowUnencrypted": True}}}
    rendered = render(values)
    for role in ROLES:
        environment = rendered.environment(role)
        assert environment["BRIDGE_REDIS_URL"] == url
        assert environment.get("BRIDGE_REDIS_SENTINELS", "") == sentinels
        names = [entry["name"] for entry in rendered.pod(role)["spec"]["containers"][0]["env"]]
        if "$(" in url:
            # Kubernetes only substitutes variables that are defined earlier.
            assert names.index("BRIDGE_REDIS_PASSWORD") < names.index("BRIDGE_REDIS_URL")


def test_the_sentinels_own_password_comes_from_a_secret() -> None:
    secret = {"redis": {"sentinel": {"username": "u", "passwordSecret": {"name": "s", "key": "k"}}}}
    rendered = render(merged(values_of("sentinel"), secret))
    for role in ROLES:
        assert rendered.environment(role)["BRIDGE_REDIS_SENTINEL_USER"] == "u"
        file = rendered.environment(role)["BRIDGE_REDIS_SENTINEL_PASSWORD_FILE"]
        (volume,) = (each for each in rendered.pod(role)["spec"]["volumes"] if each["name"] == "secrets")
        (source,) = (each["secret"] for each in volume["projected"]["sources"] if each["secret"]["name"] == "s")
        assert source["items"] == [{"key": "k", "path": file.removeprefix("/run/bridge/secrets/")}]


def test_the_api_alone_reads_what_tenants_may_have(tmp_path: Path) -> None:
    tenants = {"team-a": {"projects": ["production"], "quotas": {"registrations": 5}}}
    rendered = render(merged(values_of("trial"), {"tenants": tenants}))
    file = tmp_path / "tenants.yaml"
    file.write_text(rendered.one("ConfigMap", "-tenants")["data"]["tenants.yaml"], encoding="utf-8")
    assert read_tenants(file)["team-a"].quotas.registrations == 5
    assert {role for role in ROLES if "BRIDGE_TENANTS_FILE" in rendered.environment(role)} == {"api"}
