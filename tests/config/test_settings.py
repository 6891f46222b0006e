"""Settings: how the environment is read and checked."""

import base64
from pathlib import Path

import pytest

from app.bootstrap.runtime import Runtime
from app.config.settings import load, parse_keys
from app.domain.access import Scope
from app.domain.errors import OperatorError

KEY = base64.b64encode(b"k" * 32).decode()


def test_a_setting_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("s3cret\n", encoding="utf-8")
    settings = load({"BRIDGE_IAM_PASSWORD_FILE": str(file)})
    assert settings.iam_password is not None
    assert settings.iam_password.get_secret_value() == "s3cret"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"BRIDGE_POLL_MIN_S": "soon"}, "BRIDGE_POLL_MIN_S: "),
        ({"BRIDGE_POLL_MIN_S": "0"}, "BRIDGE_POLL_MIN_S: "),
        ({"BRIDGE_POLL_MIN_S": "9", "BRIDGE_POLL_MAX_S": "3"}, "BRIDGE_POLL_MAX_S must not be below BRIDGE_POLL_MIN_S"),
        ({"BRIDGE_LEASE_S": "10"}, "BRIDGE_LEASE_S must exceed BRIDGE_ATTEMPT_DEADLINE_S"),
        ({"BRIDGE_ALLOW_NETWORKS": "10.0.0.1/8"}, "BRIDGE_ALLOW_NETWORKS: "),
        ({"BRIDGE_RETRY_SCHEDULE": "5,,x"}, "BRIDGE_RETRY_SCHEDULE: "),
        ({"BRIDGE_SECRET_KEYS": f"k1:{KEY},k2:abc"}, "BRIDGE_SECRET_KEYS: key number 2 is not"),
        ({"BRIDGE_CHAT_RETRY_SCHEDULE": "30,inf"}, "BRIDGE_CHAT_RETRY_SCHEDULE: "),
        ({"BRIDGE_REDIS_URL": "redis.example:6379/0"}, "BRIDGE_REDIS_URL: must be redis://"),
        ({"BRIDGE_REDIS_URL": "redis://h:99999/0"}, "BRIDGE_REDIS_URL: must be redis://"),
        ({"BRIDGE_REDIS_SENTINELS": "s1:26379,s2"}, "BRIDGE_REDIS_SENTINELS: 's2' is not host:port"),
        ({"BRIDGE_LOG_LEVEL": "loud"}, "BRIDGE_LOG_LEVEL: must be DEBUG, INFO, WARNING or ERROR"),
        (
            {"BRIDGE_OIDC_SCOPES": "admin,all"},
            "BRIDGE_OIDC_SCOPES: must be registrations:read, registrations:write, deliveries:write or admin",
        ),
        ({"BRIDGE_CPH_TOKEN_FILE": "/nowhere"}, "BRIDGE_CPH_TOKEN_FILE: cannot read /nowhere"),
        ({"BRIDGE_LEASE_S": "1e15"}, "BRIDGE_LEASE_S: Input should be less than or equal to 315360000"),
        ({"BRIDGE_RETRY_SCHEDULE": "5,1e300"}, "BRIDGE_RETRY_SCHEDULE: Input should be less than or equal to"),
        ({"BRIDGE_RETENTION_S": "9" * 17}, "BRIDGE_RETENTION_S: Input should be less than or equal to"),
        ({"BRIDGE_ALLOW_PORTS": "443,70000"}, "BRIDGE_ALLOW_PORTS: Input should be less than or equal to 65535"),
        ({"BRIDGE_CPH_RATE": "inf"}, "BRIDGE_CPH_RATE: Input should be a finite number"),
        ({"BRIDGE_SECRET_KEYS_FILE": "/dev/null"}, "BRIDGE_SECRET_KEYS_FILE: /dev/null is empty"),
        (
            {"BRIDGE_OIDC_ISSUER": "issuer.example", "BRIDGE_OIDC_AUDIENCE": "bridge"},
            "BRIDGE_OIDC_ISSUER must be a URL, https://…, unless BRIDGE_OIDC_KEYS_URL is set",
        ),
        (
            {"BRIDGE_OIDC_ISSUER": "i", "BRIDGE_OIDC_AUDIENCE": "bridge", "BRIDGE_OIDC_KEYS_URL": "keys.example"},
            "BRIDGE_OIDC_KEYS_URL must be a URL",
        ),
        ({"BRIDGE_REDIS_SENTINEL_USER": "u"}, "BRIDGE_REDIS_SENTINEL_USER needs BRIDGE_REDIS_SENTINEL_PASSWORD"),
    ],
)
def test_a_wrong_setting_is_named(environment: dict[str, str], message: str) -> None:
    with pytest.raises(OperatorError) as refused:
        load(environment)
    assert message in str(refused.value)


def test_an_issuer_whose_keys_have_a_url_may_be_any_text() -> None:
    issuer = {"BRIDGE_OIDC_ISSUER": "accounts.example", "BRIDGE_OIDC_AUDIENCE": "bridge"}
    assert load(issuer | {"BRIDGE_OIDC_KEYS_URL": "https://accounts.example/keys"}).oidc_issuer == "accounts.example"


@pytest.mark.parametrize(
    "environment", [{"BRIDGE_SECRET_KEYS": "k1:hunter2"}, {"BRIDGE_REDIS_URL": "redis://:hunter2/x@redis.example/0"}]
)
def test_an_error_never_shows_a_secret(environment: dict[str, str]) -> None:
    with pytest.raises(OperatorError) as refused:
        load(environment)
    assert "hunter2" not in str(refused.value)


def test_lists_are_separated_by_commas() -> None:
    settings = load(
        {"BRIDGE_RETRY_SCHEDULE": "1, 2.5", "BRIDGE_ALLOW_PORTS": "443", "BRIDGE_ALLOW_NETWORKS": "::1/128"}
    )
    assert settings.retry_schedule == (1, 2.5)
    assert settings.allow_ports == frozenset({443})
    assert [str(network) for network in settings.allow_networks] == ["::1/128"]


def test_names_may_be_written_in_any_case() -> None:
    settings = load({"BRIDGE_LOG_LEVEL": "warning", "BRIDGE_OIDC_SCOPES": "Admin, REGISTRATIONS:read"})
    assert settings.log_level == "WARNING"
    assert settings.oidc_scopes == (Scope.ADMIN, Scope.REGISTRATIONS_READ)


def test_the_first_key_encrypts() -> None:
    assert list(parse_keys(load({"BRIDGE_SECRET_KEYS": f"b:{KEY}, a:{KEY}"}).secret_keys)) == ["b", "a"]


def test_settings_do_not_show_secrets() -> None:
    settings = load({"BRIDGE_REDIS_URL": "redis://:s3cret@host/0", "BRIDGE_CPH_TOKEN": "s3cret"})
    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"BRIDGE_CPH_PROJECT_ID": "p"}, "BRIDGE_CPH_REGION or _ENDPOINT"),
        ({"BRIDGE_CPH_PROJECT_ID": "p", "BRIDGE_CPH_ENDPOINT": "https://cph"}, "or BRIDGE_CPH_ACCESS_KEY and _SECRET"),
        (
            {"BRIDGE_CPH_PROJECT_ID": "p", "BRIDGE_CPH_ENDPOINT": "https://cph", "BRIDGE_IAM_USER": "u"},
            "BRIDGE_IAM_USER, _PASSWORD and _DOMAIN",
        ),
    ],
)
def test_a_poller_without_what_it_needs_says_what_that_is(environment: dict[str, str], message: str) -> None:
    with pytest.raises(OperatorError, match=message):
        list(Runtime(load(environment)).cph_clients)


def test_a_region_gives_the_endpoints() -> None:
    environment = {"BRIDGE_CPH_PROJECT_ID": "p", "BRIDGE_CPH_REGION": "ap-southeast-1"}
    login = {"BRIDGE_IAM_USER": "u", "BRIDGE_IAM_PASSWORD": "pw", "BRIDGE_IAM_DOMAIN": "d"}
    assert list(Runtime(load(environment | login)).cph_clients) == ["default"]


def test_a_deployment_without_a_project_has_none() -> None:
    assert Runtime(load({})).config.projects == ()


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"BRIDGE_OPERATOR_URL": "https://ops.example"}, "must be set together"),
        ({"BRIDGE_OPERATOR_URL": "https://ops.example", "BRIDGE_OPERATOR_SECRET": "s3cret"}, "must start with whsec_"),
    ],
)
def test_what_the_operator_is_sent_must_be_signed(environment: dict[str, str], message: str) -> None:
    with pytest.raises(OperatorError, match=message) as raised:
        load(environment)
    assert "s3cret" not in str(raised.value)


def test_an_operators_url_that_may_not_be_called_is_a_wrong_setting() -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    runtime = Runtime(load({"BRIDGE_OPERATOR_URL": "http://10.0.0.1/s3cret", "BRIDGE_OPERATOR_SECRET": secret}))
    with pytest.raises(OperatorError, match="BRIDGE_OPERATOR_URL: not allowed here") as raised:
        _ = runtime.destinations
    assert "s3cret" not in str(raised.value)
