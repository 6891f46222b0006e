"""All settings; the only reader of the environment."""

import base64
import binascii
import os
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from difflib import get_close_matches
from importlib.util import find_spec
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from app.config.cph_access import check_proxy, clean_endpoint
from app.domain.access import Scope
from app.domain.callback_url import HOST_AND_PORT
from app.domain.errors import InvalidField, OperatorError
from app.domain.region import check_region
from app.domain.signature import secret_bytes
from app.domain.times import LEAP_MARGIN
from app.formats import links

PREFIX = "BRIDGE_"
FILE_SUFFIX = "_FILE"
KEY_BYTES = 32
URL = re.compile(r"https?://[^/?#@\s]+")
# Read by the command line, ./dev and receivers in the docs; the last for the URL of Redis in the chart.
OF_OTHERS = ("BRIDGE_URL", "BRIDGE_KEY", "BRIDGE_KEY_FILE", "BRIDGE_CA_FILE", "BRIDGE_SECRET", "BRIDGE_REDIS_PASSWORD")
# Kubernetes gives each pod the addresses of services, in names that begin with the service's.
SERVICE_LINK = re.compile(r"BRIDGE_(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)")
REDIS_SCHEMES = frozenset({"redis", "rediss", "unix"})
OTEL = "opentelemetry.exporter.otlp.proto.http"  # it depends on the API and the SDK
DEVKIT = "app.devkit"


def _split(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


CommaSeparated = BeforeValidator(_split)
# Names are case-insensitive.
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(str.upper)]
GivenScope = Annotated[Scope, BeforeValidator(str.lower)]
TEN_YEARS_S = 315_360_000  # longer times are mistakes, and the latest date is near
PositiveSeconds = Annotated[float, Field(gt=0, le=TEN_YEARS_S, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=1, le=65_535)]


class Settings(BaseModel):
    """Each field comes from the environment variable `BRIDGE_<NAME>` or the file that `BRIDGE_<NAME>_FILE` names."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    """Redis URL: `redis://…`, `rediss://…` or `unix://…`."""

    redis_sentinels: Annotated[tuple[str, ...], CommaSeparated] = ()
    """Sentinels, `host:port,…`; BRIDGE_REDIS_URL then gives user, password and database, not host and port."""

    redis_sentinel_service: str = "mymaster"
    """Name of the primary in the Sentinels' configuration."""

    redis_sentinel_user: str | None = None
    """ACL user at the Sentinels themselves, if they have users."""

    redis_sentinel_password: SecretStr | None = None
    """Password of the Sentinels themselves, if they require one."""

    wait_replicas: int = Field(default=0, ge=0)
    """Redis replicas that must hold what the API acknowledges, else 503; all of them, or a failover can lose it."""

    api_bind: str = "0.0.0.0:8080"
    """`host:port` of the API, or `unix:` and a path; `[::]` takes IPv4 too, here and below."""

    probe_bind: str = "0.0.0.0:8081"
    """`host:port` of the probes `/healthz` and `/readyz`: separate, so that slow API clients cannot starve them."""

    metrics_bind: str | None = None
    """`host:port` of `/metrics` in each process. If unset: on the API and probe ports of the API, not in workers."""

    metrics_tenants: bool = False
    """Whether metrics have the label `tenant`."""

    otel: bool = False
    """Whether to send OpenTelemetry traces (extra `otel`); the SDK's `OTEL_…` variables set the endpoint."""

    api_workers: int = Field(default=2, ge=1)
    """Number of API processes."""

    api_threads: int = Field(default=8, ge=1)
    """Threads of each API process, which limit the requests that it handles at once."""

    api_streams: int = Field(default=16, ge=1)
    """Additional threads of each API process, for requests that wait: event streams and `wait_s`."""

    api_proxies: int = Field(default=0, ge=0)
    """Number of proxies in front of the API that append to `X-Forwarded-For`; with 0 the header is ignored."""

    bootstrap_key: SecretStr | None = None
    """An API key with scope `admin` for tenant `default`, for the first start."""

    oidc_issuer: str | None = None
    """Issuer whose JWTs the API accepts like API keys: an OpenID provider, or Kubernetes' service account issuer."""

    oidc_audience: str | None = None
    """Audience that these JWTs must name."""

    oidc_keys_url: str | None = None
    """URL of the issuer's keys (JWKS). If unset: from its `/.well-known/openid-configuration`."""

    oidc_ca_file: str | None = None
    """CA certificates (PEM) for the issuer's server, if no public CA signed its certificate."""

    oidc_tenant_claim: str = "/tenant"
    """JSON pointer to the tenant in a JWT; for service accounts e.g. `/kubernetes.io/namespace`."""

    oidc_scopes_claim: str = "/scope"
    """JSON pointer to the scopes in a JWT: a list, or a space-separated string."""

    oidc_scopes: Annotated[tuple[GivenScope, ...], CommaSeparated] = ()
    """Scopes of JWTs without that claim."""

    projects_file: Path | None = None
    """YAML file with several CPH projects; the settings of a single project below are then ignored."""

    cph_project_id: str | None = None
    """Id of the CPH project, which the bridge names `default`."""

    cph_region: str | None = None
    """Region of the CPH project, e.g. `ap-southeast-1`; determines the endpoints of CPH and IAM."""

    cph_endpoint: str | None = None
    """URL of CPH, instead of a region: for partner clouds, whose hosts have other names."""

    cph_token: SecretStr | None = None
    """A fixed token for CPH; the bridge does not renew it."""

    cph_access_key: SecretStr | None = None
    """Access key (AK) for CPH, to sign requests."""

    cph_secret_key: SecretStr | None = None
    """Secret key (SK) of the access key."""

    cph_security_token: SecretStr | None = None
    """Security token, if the access key is temporary."""

    iam_endpoint: str | None = None
    """URL of IAM. If unset: derived from the region."""

    iam_user: str | None = None
    """IAM user with permission to query jobs (`cph:jobs:get`, `cph:jobs:list`)."""

    iam_password: SecretStr | None = None
    """Password of the IAM user."""

    iam_domain: str | None = None
    """Account (domain) of the IAM user."""

    cph_ca_file: Path | None = None
    """CA certificates (PEM) for CPH and IAM, trusted instead of the public ones; default of all projects."""

    cph_proxy: SecretStr | None = None
    """HTTP proxy to CPH and IAM, `http://user:password@host:port`; default of all projects, never for callbacks."""

    cph_rate: float = Field(default=10, gt=0, allow_inf_nan=False)
    """Calls per second to a CPH project without a rate of its own, for all workers together."""

    cph_concurrency: int = Field(default=256, ge=1)
    """Maximum concurrent calls to a CPH project, for all workers together."""

    cph_timeout_s: PositiveSeconds = 10
    """Timeout of one call to CPH or IAM, in seconds; at most a quarter of BRIDGE_LEASE_S."""

    poll_min_s: PositiveSeconds = 1
    """Shortest interval between two polls of a job, in seconds."""

    poll_max_s: PositiveSeconds = 30
    """Longest interval between two polls of a job that CPH knows, in seconds."""

    poll_cost_s: PositiveSeconds = 1
    """Seconds of delay that one call to CPH is worth; a higher value means fewer calls (docs/cadence.md)."""

    lost_grace_s: PositiveSeconds = 60
    """Seconds that a job may be unknown to CPH before the bridge reports it as lost."""

    request_quiet_s: PositiveSeconds = 30
    """Seconds without a new job after which all jobs of a request count as known."""

    allow_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], CommaSeparated] = ()
    """Private networks (CIDR) that callbacks may reach, there also over http and on any port."""

    allow_http: bool = False
    """Whether callbacks to public addresses may use http."""

    allow_ports: Annotated[frozenset[Port], CommaSeparated] = frozenset({443, 8443})
    """Ports that callbacks to public addresses may use."""

    grants_file: Path | None = None
    """YAML file with network grants: private networks for some tenants, TLS certificates for some receivers."""

    deny_hosts: Annotated[tuple[str, ...], CommaSeparated] = ()
    """`host` or `host:port` denied to callbacks: the bridge's own names. Redis and Kubernetes' API always are."""

    attempt_deadline_s: PositiveSeconds = 10
    """Timeout of one attempt, in seconds: DNS lookup, connecting, TLS, sending and reading the answer."""

    retry_schedule: Annotated[tuple[PositiveSeconds, ...], CommaSeparated] = (
        *(5, 30, 120, 600, 1_800),
        *(3_600, 10_800, 21_600, 43_200, 86_400),
    )
    """Waits before the 2nd, 3rd, … attempt, in seconds."""

    chat_retry_schedule: Annotated[tuple[PositiveSeconds, ...], CommaSeparated] = (30, 120, 600, 1_800)
    """The same for chat messages; none is retried later than an hour after its schedule began."""

    link: str | None = None
    """URL that messages link to, with placeholders such as `{job_id}`; for registrations without a link."""

    templates_dir: Path | None = None
    """Folder with callback templates: `<name>.json.j2`, each with an optional `<name>.yaml`."""

    cloudevents_handshake: bool = False
    """Whether `cloudevents` receivers must first give permission (OPTIONS, CloudEvents web hook specification)."""

    cloudevents_origin: str | None = None
    """Origin that this handshake names: the bridge's own host name, e.g. `bridge.example`."""

    destination_concurrency: int = Field(default=16, ge=1)
    """Maximum concurrent attempts to one destination."""

    destination_rate: float = Field(default=200, ge=0, allow_inf_nan=False)
    """Maximum attempts per second to one destination; 0 means unlimited."""

    redeliver_rate: float = Field(default=10, gt=0, allow_inf_nan=False)
    """Dead deliveries per second to one destination when many are redelivered at once."""

    operator_url: SecretStr | None = None
    """URL that is notified when a destination is disabled or reopened; the rules for callback URLs apply."""

    operator_secret: SecretStr | None = None
    """Secret that signs these notifications: `whsec_` and base64."""

    tenants_file: Path | None = None
    """YAML file with quotas and allowed CPH projects by tenant, where they differ from the quotas below."""

    quota_registrations: int = Field(default=100_000, ge=0)
    """Maximum registrations of a tenant that are watching at once; 0 means unlimited, here and below."""

    quota_jobs: int = Field(default=100_000, ge=0)
    """Maximum jobs of a tenant's watching registrations that have not ended."""

    quota_destinations: int = Field(default=1_000, ge=0)
    """Maximum destinations of a tenant: hosts and ports that it has recently registered for."""

    quota_deliveries: int = Field(default=100_000, ge=0)
    """Pending deliveries from which on a tenant may not register."""

    quota_requests: int = Field(default=60_000, ge=0)
    """Maximum API requests of a tenant per minute."""

    lease_s: PositiveSeconds = 60
    """Seconds that claimed work may take before another worker takes it over; longer than any attempt or call."""

    worker_threads: int = Field(default=64, ge=1)
    """Maximum concurrent calls or attempts of one worker. One tenant gets at most half of those that others leave."""

    alive_file: Path | None = None
    """File that a live worker touches every few seconds, whether Redis answers or not."""

    retention_s: int = Field(default=14 * 86_400, ge=60, le=TEN_YEARS_S)
    """Seconds for which finished registrations, jobs and deliveries are kept at least."""

    secret_keys: SecretStr | None = None
    """Keys, `id:base64,…` of 32 bytes: the first encrypts, all decrypt. If unset, secrets are stored unencrypted."""

    signing_keys: SecretStr | None = None
    """ed25519 seeds, written as BRIDGE_SECRET_KEYS; the first adds a signature (`v1a`) to callbacks."""

    log_level: LogLevel = "INFO"
    """`DEBUG`, `INFO`, `WARNING` or `ERROR`."""

    test_crash_at: str | None = None
    """For tests in a checkout: the process kills itself at this crash point. The image rejects it."""

    @field_validator("redis_url")
    @classmethod
    def _check_redis_url(cls, value: SecretStr) -> SecretStr:
        try:
            parts = urlsplit(value.get_secret_value())
            known = parts.scheme in REDIS_SCHEMES and parts.port != 0
        except ValueError:  # its message quotes the URL, which may contain a password
            known = False
        if not known:
            raise ValueError("must be redis://…, rediss://… or unix://…; in a password percent-encode / : @ ? # %")
        return value

    @field_validator("redis_sentinels")
    @classmethod
    def _check_sentinels(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            found = HOST_AND_PORT.fullmatch(text)
            if not found or not found["host"] or not found["port"]:
                raise ValueError(f"{text!r} is not host:port")
        return value

    @field_validator("cph_region")
    @classmethod
    def _check_region(cls, value: str | None) -> str | None:
        return value and check_region(value)

    @field_validator("cph_endpoint", "iam_endpoint")
    @classmethod
    def _clean_endpoint(cls, value: str | None) -> str | None:
        return value and clean_endpoint(value)

    @field_validator("cph_proxy")
    @classmethod
    def _check_proxy(cls, value: SecretStr | None) -> SecretStr | None:
        if value:
            check_proxy(value.get_secret_value())
        return value

    @field_validator("otel")
    @classmethod
    def _check_otel_installed(cls, value: bool) -> bool:
        if value and not _is_installed(OTEL):
            raise ValueError("OpenTelemetry is not installed: pip install 'cph-webhook-bridge[otel]'")
        return value

    @field_validator("test_crash_at")
    @classmethod
    def _check_for_tests(cls, value: str | None) -> str | None:
        if value and not _is_installed(DEVKIT):
            raise ValueError("for tests in a checkout only: this installation has no crash points")
        return value

    @field_validator("operator_secret")
    @classmethod
    def _check_operator_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value:
            secret_bytes(value.get_secret_value())
        return value

    @field_validator("link")
    @classmethod
    def _check_link(cls, value: str | None) -> str | None:
        try:
            links.check(value or "https://nowhere.example")
        except InvalidField as error:
            raise ValueError(error.detail) from None
        return value

    @field_validator("secret_keys", "signing_keys")
    @classmethod
    def _check_keys(cls, value: SecretStr | None) -> SecretStr | None:
        parse_keys(value)
        return value

    @model_validator(mode="after")
    def _check_lease(self) -> Self:
        if self.lease_s <= self.attempt_deadline_s:
            raise ValueError("BRIDGE_LEASE_S must exceed BRIDGE_ATTEMPT_DEADLINE_S")
        return self

    @model_validator(mode="after")
    def _check_oidc_urls(self) -> Self:
        if self.oidc_keys_url and not URL.match(self.oidc_keys_url):
            raise ValueError("BRIDGE_OIDC_KEYS_URL must be a URL: https://…")
        # Some issuers name themselves without a scheme: their keys cannot be discovered.
        if self.oidc_issuer and not self.oidc_keys_url and not URL.match(self.oidc_issuer):
            raise ValueError("BRIDGE_OIDC_ISSUER must be a URL, https://…, unless BRIDGE_OIDC_KEYS_URL is set")
        return self

    @model_validator(mode="after")
    def _check_sentinel_user(self) -> Self:
        if self.redis_sentinel_user and not self.redis_sentinel_password:
            raise ValueError("BRIDGE_REDIS_SENTINEL_USER needs BRIDGE_REDIS_SENTINEL_PASSWORD")
        return self

    @model_validator(mode="after")
    def _check_oidc_audience(self) -> Self:
        if bool(self.oidc_issuer) != bool(self.oidc_audience):
            raise ValueError("BRIDGE_OIDC_ISSUER and BRIDGE_OIDC_AUDIENCE must be set together")
        return self

    @model_validator(mode="after")
    def _check_operator_pair(self) -> Self:
        if bool(self.operator_url) != bool(self.operator_secret):
            raise ValueError("BRIDGE_OPERATOR_URL and BRIDGE_OPERATOR_SECRET must be set together")
        return self

    @model_validator(mode="after")
    def _check_handshake_origin(self) -> Self:
        if self.cloudevents_handshake and not self.cloudevents_origin:
            raise ValueError("BRIDGE_CLOUDEVENTS_HANDSHAKE needs BRIDGE_CLOUDEVENTS_ORIGIN")
        return self

    @model_validator(mode="after")
    def _check_poll_interval(self) -> Self:
        if self.poll_max_s < self.poll_min_s:
            raise ValueError("BRIDGE_POLL_MAX_S must not be below BRIDGE_POLL_MIN_S")
        return self

    @property
    def lease(self) -> timedelta:
        return timedelta(seconds=self.lease_s)

    @property
    def cph_timeout(self) -> timedelta:
        """A poll may need two calls (401), a login, and a wait for another worker's login: four fit into a lease."""
        return timedelta(seconds=min(self.cph_timeout_s, self.lease_s / 4))

    @property
    def retention(self) -> timedelta:
        """How long Redis keeps it."""
        return timedelta(seconds=self.retention_s) + LEAP_MARGIN


def parse_keys(value: SecretStr | None) -> dict[str, bytes]:
    """Returns id → 32 bytes, in order. The ValueError names a wrong key by its position, never by its content."""
    keys = {}
    for number, part in enumerate((value.get_secret_value() if value else "").split(","), start=1):
        if not part.strip():
            continue
        id, colon, text = part.strip().partition(":")
        try:
            key = base64.b64decode(text, validate=True)
        except binascii.Error:
            key = b""
        if not colon or not id.isalnum() or id == "open" or len(key) != KEY_BYTES:
            raise ValueError(
                f"key number {number} is not `id:base64`: alphanumeric id other than `open`, {KEY_BYTES} bytes"
            )
        keys[id] = key
    return keys


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # a parent package is not installed
        return False


def variables() -> Mapping[str, str]:
    """Returns the environment, for files that refer to its variables."""
    return os.environ


def take_out(names: Iterable[str]) -> list[str]:
    """Removes these variables from the environment of this process. Returns those that were set."""
    return [name for name in names if os.environ.pop(name, None) is not None]


def without_secrets(environment: Mapping[str, str], *, but: str) -> dict[str, str]:
    """Returns the variables of settings that are no secret, and of those whose field's name begins with `but`."""
    types = {name: (field.annotation, *get_args(field.annotation)) for name, field in Settings.model_fields.items()}
    fields = [name for name in types if name.startswith(but) or SecretStr not in types[name]]
    given = {PREFIX + name.upper() + suffix for name in fields for suffix in ("", FILE_SUFFIX)} & environment.keys()
    return {name: environment[name] for name in given}


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """Loads the settings of this process. The OperatorError names the wrong variables and the reasons."""
    environment = os.environ if environment is None else environment
    values = {}
    for name in Settings.model_fields:
        variable = PREFIX + name.upper()
        value = environment.get(variable) or _file_content(variable + FILE_SUFFIX, environment)
        if value:
            values[name] = value
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise OperatorError("; ".join(_describe(problem) for problem in error.errors())) from None


def _file_content(variable: str, environment: Mapping[str, str]) -> str | None:
    """Raises OperatorError if the file cannot be read or is empty: without a key, secrets would not be encrypted."""
    path = environment.get(variable)
    if not path:
        return None
    try:
        content = Path(path).read_text(encoding="utf-8-sig").strip()
    except OSError as error:
        raise OperatorError(f"{variable}: cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise OperatorError(f"{variable}: {path} is not UTF-8: save it as UTF-8") from None
    if not content:
        raise OperatorError(f"{variable}: {path} is empty: write the value into it, or remove the variable")
    return content


def unknown_names(environment: Mapping[str, str] | None = None) -> dict[str, str | None]:
    """Returns the variables that begin with BRIDGE_ and that nothing reads → the nearest name of a setting, if any."""
    environment = os.environ if environment is None else environment
    fields = [PREFIX + name.upper() for name in Settings.model_fields]
    known = {*fields, *(name + FILE_SUFFIX for name in fields), *OF_OTHERS}
    bare = [name.removeprefix(PREFIX) for name in known]
    return {
        name: next((PREFIX + near for near in get_close_matches(name.removeprefix(PREFIX).upper(), bare, n=1)), None)
        for name in sorted(environment)
        if name.startswith(PREFIX) and name not in known and not SERVICE_LINK.fullmatch(name)
    }


def _describe(problem: Any) -> str:
    field = f"{PREFIX}{str(problem['loc'][0]).upper()}: " if problem["loc"] else ""
    if problem["type"] in ("literal_error", "enum"):
        allowed = problem["ctx"]["expected"].replace("'", "")
        return f"{field}must be {allowed}"
    return f"{field}{problem['msg'].removeprefix('Value error, ')}"
