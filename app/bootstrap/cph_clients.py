"""Builds the clients of the CPH projects from their endpoints, credentials and secret files."""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from app.config.projects import (
    AccessKeyCredentials,
    AgencyCredentials,
    PasswordCredentials,
    PodIdentityCredentials,
    Project,
    SecretSource,
    TokenCredentials,
)
from app.config.settings import Settings
from app.config.tls_files import check_ca_file
from app.cph import access_keys
from app.cph.access_keys import KeySource
from app.cph.agency import HostAgency
from app.cph.agency import PodIdentity as PodKeys
from app.cph.client import CphClient
from app.cph.credential_cache import TokenCache
from app.cph.credentials import Credentials, FixedToken
from app.cph.iam import IamPassword
from app.cph.parsing import header_value
from app.cph.server_clock import ServerClock
from app.domain.errors import OperatorError
from app.domain.grant import TlsFiles
from app.domain.region import cph_endpoint, doubt_about, iam_endpoint
from app.transport.client import PUBLIC, Transport
from app.transport.proxy import HttpProxy
from app.transport.sockets import connect_anywhere

log = logging.getLogger("bridge.cph")
URL = re.compile(r"https?://[^/?#@\s]+(/[^#\s]*)?")
IN_HEADERS = ("token", "access_key", "security_token")
POD_VARIABLES = ("HC_CONTAINER_CREDENTIALS_FULL_URI", "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE")


@dataclass(frozen=True, slots=True)
class _Built:
    project: Project
    secrets: Mapping[str, str]
    client: CphClient


class CphClients:
    """Builds a client for each CPH project, and keeps it while the project does not change.

    environment: may contain secrets. clock: RedisClock.world_time, as CPH and IAM check the times of signatures and set
    those of tokens. cache_of: returns the token cache that workers share, by name of the project and
    by owner of the token.
    """

    def __init__(
        self,
        settings: Settings,
        environment: Mapping[str, str],
        *,
        clock: Callable[[], datetime],
        cache_of: Callable[[str, str], TokenCache],
    ) -> None:
        self._settings = settings
        self._environment = environment
        self._clock = clock
        self._cache_of = cache_of
        self._built: dict[str, _Built] = {}

    def build(self, projects: Mapping[str, Project]) -> dict[str, CphClient]:
        """An unchanged project keeps its client, with its connections and its token.

        Raises OperatorError if a project is incomplete.
        """
        self._built = {name: self._build_one(name, project) for name, project in projects.items()}
        return {name: built.client for name, built in self._built.items()}

    def _build_one(self, name: str, project: Project) -> _Built:
        secrets = self._secrets(name, project)
        last = self._built.get(name)
        if last and (last.project, last.secrets) == (project, secrets):
            return last
        return _Built(project, secrets, self._client(name, project, secrets))

    def _secrets(self, name: str, project: Project) -> dict[str, str]:
        sources = [
            *(project.credentials or ()),
            ("proxy", project.proxy or SecretSource(value=self._settings.cph_proxy)),
        ]
        try:
            secrets = {
                field: source.read(self._environment)
                for field, source in sources
                if isinstance(source, SecretSource) and source != SecretSource()
            }
        except OperatorError as error:
            raise OperatorError(f"CPH project {name}: {error}") from None
        # Checked here because the HTTP library, which would reject it at each call, quotes the header in its error.
        for field in IN_HEADERS:
            if field in secrets and not header_value(secrets[field]):
                raise OperatorError(
                    f"CPH project {name}: {field} has characters that no HTTP header may have, such as a line break"
                )
        return secrets

    def _client(self, name: str, project: Project, secrets: Mapping[str, str]) -> CphClient:
        endpoint = address(project)
        if not endpoint:
            raise OperatorError("CPH is not configured: set BRIDGE_CPH_PROJECT_ID, and BRIDGE_CPH_REGION or _ENDPOINT")
        if project.region and (doubt := doubt_about(project.region)):
            log.warning("region.unknown", extra={"project": name, "region": project.region, "hint": doubt})
        transport = self._transport(name, project, secrets.get("proxy"))
        return CphClient(
            transport=transport,
            endpoint=endpoint,
            project_id=project.project_id,
            credentials=self._credentials(name, project, secrets, transport),
            deadline=self._settings.cph_timeout,
            server_clock=ServerClock(self._clock),
        )

    def _transport(self, name: str, project: Project, proxy: str | None) -> Transport:
        """Returns the transport for CPH and IAM."""
        connect, tls = connect_anywhere, PUBLIC
        if file := project.ca_file or self._settings.cph_ca_file:
            field = f"CPH project {name}: ca_file" if project.ca_file else "BRIDGE_CPH_CA_FILE"
            check_ca_file(file, field)
            tls = TlsFiles(ca=str(file))
        if proxy:
            try:
                connect = HttpProxy.parse(proxy)
            except ValueError as error:
                raise OperatorError(f"CPH project {name}: proxy: {error}") from None
        return Transport(connections=self._settings.worker_threads, connect=connect, tls=tls)

    def _credentials(
        self, name: str, project: Project, secrets: Mapping[str, str], transport: Transport
    ) -> Credentials:
        deadline = self._settings.cph_timeout
        match project.credentials:
            case TokenCredentials():
                return FixedToken(secrets["token"])
            case PasswordCredentials(user=user, domain=domain):
                endpoint = project.iam_endpoint or iam_endpoint(project.region or "")
                return IamPassword(
                    transport=transport,
                    endpoint=endpoint,
                    user=user,
                    password=secrets["password"],
                    domain=domain,
                    project_id=project.project_id,
                    cache=self._cache_of(name, _token_owner(project)),
                    clock=self._clock,
                    deadline=deadline,
                )
            case AccessKeyCredentials():
                return access_keys.AccessKey(
                    secrets["access_key"],
                    secrets["secret_key"],
                    secrets.get("security_token"),
                    project_id=project.project_id,
                    clock=self._clock,
                )
            case AgencyCredentials():
                return self._temporary(name, project, HostAgency(transport=Transport(), deadline=deadline))
            case PodIdentityCredentials():
                return self._temporary(name, project, self._pod_identity(name))
            case None:
                raise OperatorError(
                    "no credentials for CPH: set BRIDGE_CPH_TOKEN, or BRIDGE_CPH_ACCESS_KEY and _SECRET_KEY,"
                    " or BRIDGE_IAM_USER, _PASSWORD and _DOMAIN (and BRIDGE_IAM_ENDPOINT unless a region is set)"
                )

    def _temporary(self, name: str, project: Project, source: KeySource) -> Credentials:
        cache = self._cache_of(name, _token_owner(project))
        return access_keys.TemporaryKeys(source, project_id=project.project_id, cache=cache, clock=self._clock)

    def _pod_identity(self, name: str) -> KeySource:
        """CCE sets both variables in pods with an identity. Its agent is on the node, where no proxy leads."""
        url, file = (self._environment.get(variable) for variable in POD_VARIABLES)
        if not url or not file:
            raise OperatorError(f"CPH project {name}: no pod identity here: {' and '.join(POD_VARIABLES)} are not set")
        _check_url(name, POD_VARIABLES[0], url)
        deadline = self._settings.cph_timeout
        return PodKeys(transport=Transport(), deadline=deadline, url=url, token_file=Path(file))


def _check_url(name: str, field: str, url: str) -> None:
    """Raises OperatorError for a bad URL. Unlike the YAML file, environment variables are not validated before."""
    try:
        valid = URL.fullmatch(url) and urlsplit(url).port != 0
    except ValueError:
        valid = False
    if not valid:
        raise OperatorError(f"CPH project {name}: {field} is not a URL such as https://cph.example")


def address(project: Project) -> str | None:
    """Returns the URL of the project's CPH; None if neither endpoint nor region is set."""
    return project.endpoint or (cph_endpoint(project.region) if project.region else None)


def _token_owner(project: Project) -> str:
    """Identifies the owner of a token: CPH may answer another project's token with a 403, which triggers no renewal."""
    login = project.credentials.model_dump(include={"user", "domain"}) if project.credentials else {}
    return f"{project.project_id} {address(project)} {project.iam_endpoint} {login}"
