"""Everything that can be set, and the only reader of the environment."""

import base64
import binascii
import os
from collections.abc import Mapping
from datetime import timedelta
from importlib.util import find_spec
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, Self
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

from app.domain.access import Scope
from app.domain.callback_url import HOST_AND_PORT
from app.domain.errors import InvalidField, OperatorError
from app.domain.signature import secret_bytes
from app.formats import links

PREFIX = "BRIDGE_"
FILE_SUFFIX = "_FILE"
KEY_BYTES = 32
REDIS_SCHEMES = frozenset({"redis", "rediss", "unix"})
OTEL = "opentelemetry.exporter.otlp.proto.http"  # what needs all else of it


def _split(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


CommaSeparated = BeforeValidator(_split)
# Names that are written in any case.
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(str.upper)]
GivenScope = Annotated[Scope, BeforeValidator(str.lower)]
PositiveSeconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(BaseModel):
    """Each field is the environment variable `BRIDGE_<NAME>`, or in the file that `BRIDGE_<NAME>_FILE` names."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    """`redis://`, `rediss://` or `unix://`."""

    redis_sentinels: Annotated[tuple[str, ...], CommaSeparated] = ()
    """Sentinels, `host:port,…`; user, password and database are then taken from the URL."""

    redis_sentinel_service: str = "mymaster"
    """Name of the primary at the Sentinels."""

    redis_sentinel_password: SecretStr | None = None
    """Password of the Sentinels themselves, if they ask for one."""

    wait_replicas: int = Field(default=0, ge=0)
    """Replicas of Redis that must hold what a caller is told is kept; while fewer do, it is answered 503."""

    api_bind: str = "0.0.0.0:8080"
    """Where the API listens."""

    probe_bind: str = "0.0.0.0:8081"
    """Where the kubelet asks `/healthz` and `/readyz`: apart from the API, so that slow clients cannot starve them."""

    metrics_bind: str | None = None
    """Where each process shows `/metrics`; without: the API does among its calls and its probes, and workers do not."""

    metrics_tenants: bool = False
    """Whether metrics tell tenants apart."""

    otel: bool = False
    """Whether traces go out by OpenTelemetry, the extra `otel`; where to, say the `OTEL_…` variables of its SDK."""

    api_workers: int = Field(default=2, ge=1)
    """Processes of the API."""

    api_threads: int = Field(default=8, ge=1)
    """Threads of each API process: how many requests it has in hand at once."""

    api_streams: int = Field(default=16, ge=1)
    """Threads beside these, of each process, for who waits: event streams, `wait_s`."""

    api_proxies: int = Field(default=0, ge=0)
    """How many proxies in front of the API add to `X-Forwarded-For`; with 0 it is not believed."""

    bootstrap_key: SecretStr | None = None
    """An API key that is admin of tenant `default`, for the first start."""

    oidc_issuer: str | None = None
    """Whose JWTs open the API as keys do: an OpenID provider, or the issuer of Kubernetes' service accounts."""

    oidc_audience: str | None = None
    """Whom they must be meant for."""

    oidc_keys_url: str | None = None
    """Where its keys are (JWKS); from its `/.well-known/openid-configuration` when left out."""

    oidc_ca_file: str | None = None
    """Authority of its certificate, PEM, if it is not a public one."""

    oidc_tenant_claim: str = "/tenant"
    """JSON pointer to the tenant in a JWT; of a service account e.g. `/kubernetes.io/namespace`."""

    oidc_scopes_claim: str = "/scope"
    """JSON pointer to its scopes: a list, or a text with blanks between."""

    oidc_scopes: Annotated[tuple[GivenScope, ...], CommaSeparated] = ()
    """Scopes of JWTs without that claim."""

    projects_file: Path | None = None
    """YAML file with several CPH projects; those below that are about one project then say nothing."""

    cph_project_id: str | None = None
    """Id of the CPH project; here it is named `default`."""

    cph_region: str | None = None
    """Its region, e.g. `ap-southeast-1`; gives the endpoints of CPH and IAM."""

    cph_endpoint: str | None = None
    """CPH's URL, instead of a region."""

    cph_token: SecretStr | None = None
    """A fixed token for CPH; it is not renewed."""

    cph_access_key: SecretStr | None = None
    """An access key (AK) for CPH; requests are signed with it."""

    cph_secret_key: SecretStr | None = None
    """Its secret key (SK)."""

    cph_security_token: SecretStr | None = None
    """The security token, if the access key is a temporary one."""

    iam_endpoint: str | None = None
    """IAM's URL; taken from the region when left out."""

    iam_user: str | None = None
    """IAM user who may ask for jobs (`cph:jobs:get`, `cph:jobs:list`)."""

    iam_password: SecretStr | None = None
    """Password of the IAM user."""

    iam_domain: str | None = None
    """Account (domain) of the IAM user."""

    cph_rate: float = Field(default=10, gt=0)
    """Calls a second to a CPH project without a rate of its own, all workers together."""

    cph_concurrency: int = Field(default=256, ge=1)
    """Most calls at once to a CPH project, all workers together."""

    cph_timeout_s: PositiveSeconds = 10
    """Longest that one call to CPH or IAM may take; at most a quarter of BRIDGE_LEASE_S."""

    poll_min_s: PositiveSeconds = 1
    """Shortest wait between two calls about a job."""

    poll_max_s: PositiveSeconds = 30
    """Longest wait between two calls about a job."""

    poll_cost_s: PositiveSeconds = 1
    """How many seconds of delay one call to CPH is worth: more of them, fewer calls (docs/cadence.md)."""

    lost_grace_s: PositiveSeconds = 60
    """How long a job that CPH does not know may stay unknown before it is called lost."""

    request_quiet_s: PositiveSeconds = 30
    """How long no new job of a request must come until all of its jobs are known."""

    allow_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], CommaSeparated] = ()
    """CIDRs that callbacks may go to although they are private, there with http and any port too."""

    allow_http: bool = False
    """Whether callbacks to public addresses may use http."""

    allow_ports: Annotated[frozenset[int], CommaSeparated] = frozenset({443, 8443})
    """Ports that callbacks to public addresses may use."""

    grants_file: Path | None = None
    """YAML file with finer grants: ways into private networks for some tenants, certificates for some receivers."""

    deny_hosts: Annotated[tuple[str, ...], CommaSeparated] = ()
    """`host` or `host:port` that callbacks never go to: the bridge's own names. Redis and Kubernetes' API are too."""

    attempt_deadline_s: PositiveSeconds = 10
    """Longest that one attempt may take: name lookup, connecting, TLS, sending and reading the answer."""

    retry_schedule: Annotated[tuple[PositiveSeconds, ...], CommaSeparated] = (
        *(5, 30, 120, 600, 1_800),
        *(3_600, 10_800, 21_600, 43_200, 86_400),
    )
    """Waits before the 2nd, 3rd, … attempt, in seconds."""

    chat_retry_schedule: Annotated[tuple[PositiveSeconds, ...], CommaSeparated] = (30, 120, 600, 1_800)
    """The same for messages that people read; whatever it says, none is sent again after an hour."""

    link: str | None = None
    """URL of a page about what a message tells, with `{job_id}` and the like in it; for registrations without one."""

    templates_dir: Path | None = None
    """Folder with templates for callbacks: `<name>.json.j2`, and beside it perhaps `<name>.yaml`."""

    cloudevents_handshake: bool = False
    """Whether receivers of `cloudevents` must first allow it (OPTIONS, as the specification for web hooks says)."""

    cloudevents_origin: str | None = None
    """Whom receivers then see asking: the bridge's own host name, e.g. `bridge.example`."""

    destination_concurrency: int = Field(default=16, ge=1)
    """Most attempts at once to one destination."""

    destination_rate: float = Field(default=200, ge=0)
    """Most attempts a second to one destination; 0 for as many as it bears."""

    redeliver_rate: float = Field(default=10, gt=0)
    """Dead deliveries a second to one destination, when many are redelivered at once."""

    operator_url: SecretStr | None = None
    """Where the operator is told of destinations that are disabled or reopened; the rules for callbacks hold for it."""

    operator_secret: SecretStr | None = None
    """Signs what the operator is told, `whsec_` and base64."""

    tenants_file: Path | None = None
    """YAML file with what tenants may have and which CPH projects they may name, where it is not as below."""

    quota_registrations: int = Field(default=100_000, ge=0)
    """Registrations that a tenant may have watched at once; 0 is unbounded, here and below."""

    quota_destinations: int = Field(default=1_000, ge=0)
    """Destinations that a tenant may have: hosts and ports that it has registered for lately."""

    quota_deliveries: int = Field(default=100_000, ge=0)
    """Pending deliveries beyond which a tenant may not register."""

    quota_requests: int = Field(default=60_000, ge=0)
    """Requests a minute to the API that a tenant may make."""

    lease_s: PositiveSeconds = 60
    """How long claimed work may take before others take it over; longer than any attempt or call."""

    worker_threads: int = Field(default=32, ge=1)
    """Calls or attempts that a worker has in hand at once."""

    alive_file: Path | None = None
    """File that a worker touches every few seconds while it lives, whether Redis answers or not."""

    retention_s: int = Field(default=14 * 86_400, ge=60)
    """How long what has ended is kept."""

    secret_keys: SecretStr | None = None
    """Keys for what is encrypted at rest, `id:base64,…`, 32 bytes each; the first writes. Without: secrets lie open."""

    signing_keys: SecretStr | None = None
    """ed25519 seeds, written as BRIDGE_SECRET_KEYS: the first signs callbacks as well (`v1a`)."""

    log_level: LogLevel = "INFO"
    """`DEBUG`, `INFO`, `WARNING` or `ERROR`."""

    test_crash_at: str | None = None
    """For tests: the process kills itself at this point."""

    @field_validator("redis_url")
    @classmethod
    def _is_of_redis(cls, value: SecretStr) -> SecretStr:
        try:
            parts = urlsplit(value.get_secret_value())
            known = parts.scheme in REDIS_SCHEMES and parts.port != 0
        except ValueError:  # it quotes the URL, which may hold a password
            known = False
        if not known:
            raise ValueError("must be redis://…, rediss://… or unix://…; in a password / : @ ? # % are percent-encoded")
        return value

    @field_validator("redis_sentinels")
    @classmethod
    def _are_places(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            found = HOST_AND_PORT.fullmatch(text)
            if not found or not found["host"] or not found["port"]:
                raise ValueError(f"{text!r} is not host:port")
        return value

    @field_validator("otel")
    @classmethod
    def _can_trace(cls, value: bool) -> bool:
        if value and not _is_installed(OTEL):
            raise ValueError("OpenTelemetry is not installed: pip install 'cph-webhook-bridge[otel]'")
        return value

    @field_validator("operator_secret")
    @classmethod
    def _signs(cls, value: SecretStr | None) -> SecretStr | None:
        if value:
            secret_bytes(value.get_secret_value())
        return value

    @field_validator("link")
    @classmethod
    def _links(cls, value: str | None) -> str | None:
        try:
            links.check(value or "https://nowhere.example")
        except InvalidField as error:
            raise ValueError(error.detail) from None
        return value

    @field_validator("secret_keys", "signing_keys")
    @classmethod
    def _readable(cls, value: SecretStr | None) -> SecretStr | None:
        parse_keys(value)
        return value

    @model_validator(mode="after")
    def _lease_outlasts_its_work(self) -> Self:
        if self.lease_s <= self.attempt_deadline_s:
            raise ValueError("BRIDGE_LEASE_S must exceed BRIDGE_ATTEMPT_DEADLINE_S")
        return self

    @model_validator(mode="after")
    def _tokens_are_for_us(self) -> Self:
        if bool(self.oidc_issuer) != bool(self.oidc_audience):
            raise ValueError("BRIDGE_OIDC_ISSUER and BRIDGE_OIDC_AUDIENCE need each other")
        return self

    @model_validator(mode="after")
    def _operator_can_verify(self) -> Self:
        if bool(self.operator_url) != bool(self.operator_secret):
            raise ValueError("BRIDGE_OPERATOR_URL and BRIDGE_OPERATOR_SECRET need each other")
        return self

    @model_validator(mode="after")
    def _handshake_names_us(self) -> Self:
        if self.cloudevents_handshake and not self.cloudevents_origin:
            raise ValueError("BRIDGE_CLOUDEVENTS_HANDSHAKE needs BRIDGE_CLOUDEVENTS_ORIGIN")
        return self

    @model_validator(mode="after")
    def _cadence_has_room(self) -> Self:
        if self.poll_max_s < self.poll_min_s:
            raise ValueError("BRIDGE_POLL_MAX_S must not be below BRIDGE_POLL_MIN_S")
        return self

    @property
    def lease(self) -> timedelta:
        return timedelta(seconds=self.lease_s)

    @property
    def cph_timeout(self) -> timedelta:
        """A question may cost two calls (401), a login, and waiting for another worker's: four fit into a lease."""
        return timedelta(seconds=min(self.cph_timeout_s, self.lease_s / 4))

    @property
    def retention(self) -> timedelta:
        return timedelta(seconds=self.retention_s)


def parse_keys(value: SecretStr | None) -> dict[str, bytes]:
    """id → 32 bytes, in order. ValueError names the part that is wrong by its place, never by its content."""
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
            raise ValueError(f"key number {number} is not `id:base64` with a plain id and {KEY_BYTES} bytes")
        keys[id] = key
    return keys


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # nor what it is in
        return False


def variables() -> Mapping[str, str]:
    """The environment, for files that name one of its variables."""
    return os.environ


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process. OperatorError says which variable is wrong and why."""
    environment = os.environ if environment is None else environment
    values = {}
    for name in Settings.model_fields:
        variable = PREFIX + name.upper()
        value = environment.get(variable) or _content(variable + FILE_SUFFIX, environment)
        if value:
            values[name] = value
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise OperatorError("; ".join(_words(problem) for problem in error.errors())) from None


def _content(variable: str, environment: Mapping[str, str]) -> str | None:
    path = environment.get(variable)
    try:
        return Path(path).read_text(encoding="utf-8").strip() if path else None
    except OSError as error:
        raise OperatorError(f"{variable}: cannot read {path}: {error.strerror}") from error


def _words(problem: Any) -> str:
    field = f"{PREFIX}{str(problem['loc'][0]).upper()}: " if problem["loc"] else ""
    if problem["type"] in ("literal_error", "enum"):
        allowed = problem["ctx"]["expected"].replace("'", "")
        return f"{field}must be {allowed}"
    return f"{field}{problem['msg'].removeprefix('Value error, ')}"
