"""Parses the CPH projects of a deployment from a YAML file, which refers to secrets and contains none."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, InstanceOf, SecretStr, Tag

from app.config import yaml_files
from app.config.cph_access import check_proxy, clean_endpoint
from app.config.settings import Settings
from app.config.yaml_files import Strict, describe_problem
from app.domain.errors import OperatorError
from app.domain.region import check_region


@dataclass(frozen=True, slots=True)
class SecretSource:
    """Where a secret is: in a file, in an environment variable, or in `value` if the settings have it already."""

    file: Path | None = None
    env: str | None = None
    value: SecretStr | None = None

    def read(self, environment: Mapping[str, str]) -> str:
        """Raises OperatorError, naming the file or variable, if it holds no secret."""
        if self.value:
            return self.value.get_secret_value()
        found = yaml_files.content(self.file).strip() if self.file else environment.get(self.env or "", "")
        if not found:
            raise OperatorError(f"{self.file or self.env} holds no secret")
        return found


DEFAULT_PROJECT = "default"
SecretField = InstanceOf[SecretSource]
# No colons: they separate the parts of Redis keys.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
Text = Annotated[str, Field(min_length=1)]
Region = Annotated[str, AfterValidator(check_region)]
Url = Annotated[str, AfterValidator(clean_endpoint)]


class TokenCredentials(Strict):
    """A fixed token, which is not renewed."""

    token: SecretField


class PasswordCredentials(Strict):
    user: Text
    password: SecretField
    domain: Text


class AccessKeyCredentials(Strict):
    """A permanent access key; with a security token, a temporary one."""

    kind: ClassVar[str] = "access_key"
    access_key: SecretField
    secret_key: SecretField
    security_token: SecretField | None = None


class AgencyCredentials(Strict):
    """Temporary keys issued by the ECS host."""

    kind: ClassVar[str] = "agency"
    agency: Literal[True]


class PodIdentityCredentials(Strict):
    """Temporary keys issued by CCE."""

    kind: ClassVar[str] = "pod_identity"
    pod_identity: Literal[True]


SECRETS = ("token", "password", "access_key", "secret_key", "security_token")
TAG_OF = {
    "token": "token",
    "user": "password",
    "password": "password",
    "access_key": "access_key",
    "secret_key": "access_key",
    "agency": "agency",
    "pod_identity": "pod_identity",
}


def _with_secrets(value: Any) -> Any:
    """Turns `password_file: /a` or `password_env: A` into the secret `password`."""
    if not isinstance(value, dict):
        return value
    fields = dict(value)
    # An access key's id is not secret, but may be stored next to its secret key.
    if isinstance(id := fields.get("access_key"), str):
        fields["access_key"] = SecretSource(value=SecretStr(id))
    for name in SECRETS:
        present = [field for field in (name, f"{name}_file", f"{name}_env") if field in fields]
        if len(present) > 1:
            raise ValueError(f"give one of {' and '.join(present)}")
        if present and present != [name]:
            fields[name] = _secret_source(present[0], fields.pop(present[0]))
    return fields


def _proxy(value: Any) -> Any:
    """Turns a project's `proxy`, `proxy_file` or `proxy_env` into the secret `proxy`: it may have a password."""
    if not isinstance(value, dict):
        return value
    fields = dict(value)
    present = [field for field in ("proxy", "proxy_file", "proxy_env") if field in fields]
    if len(present) > 1:
        raise ValueError(f"give one of {' and '.join(present)}")
    if present == ["proxy"]:
        fields["proxy"] = _plain_proxy(fields["proxy"])
    elif present:
        fields["proxy"] = _secret_source(present[0], fields.pop(present[0]))
    return fields


def _plain_proxy(url: Any) -> SecretSource:
    try:
        check_proxy(str(url))
    except ValueError as error:
        raise ValueError(f"proxy: {error}") from None
    if "@" in str(url):
        raise ValueError("proxy has a password, which does not belong in this file: write proxy_file or proxy_env")
    return SecretSource(value=SecretStr(str(url)))


def _secret_source(field: str, value: Any) -> SecretSource:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{field} must be a string")
    return SecretSource(file=Path(value)) if field.endswith("_file") else SecretSource(env=value)


def _tag(value: Any) -> str | None:
    return next((tag for field, tag in TAG_OF.items() if field in value), None) if isinstance(value, dict) else None


TaggedCredentials = (
    Annotated[TokenCredentials, Tag("token")]
    | Annotated[PasswordCredentials, Tag("password")]
    | Annotated[AccessKeyCredentials, Tag("access_key")]
    | Annotated[AgencyCredentials, Tag("agency")]
    | Annotated[PodIdentityCredentials, Tag("pod_identity")]
)
Credentials = TokenCredentials | PasswordCredentials | AccessKeyCredentials | AgencyCredentials | PodIdentityCredentials


class Project(Strict):
    """Without `rate`, `ca_file` or `proxy`, the setting applies. Only processes that call CPH need the credentials."""

    project_id: Text
    region: Region | None = None
    endpoint: Url | None = None
    iam_endpoint: Url | None = None
    credentials: Annotated[TaggedCredentials, Discriminator(_tag), BeforeValidator(_with_secrets)] | None = None
    ca_file: Path | None = None
    proxy: SecretField | None = None
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


def _check_complete(project: Project) -> Project:
    if (project.region is None) == (project.endpoint is None):
        raise ValueError("give one of region and endpoint; a partner cloud needs endpoint, and iam_endpoint for a user")
    if project.credentials is None:
        raise ValueError("credentials are missing")
    if isinstance(project.credentials, PasswordCredentials) and not (project.region or project.iam_endpoint):
        raise ValueError("without a region, user and password need iam_endpoint")
    return project


class _ProjectsFile(Strict):
    projects: Annotated[
        dict[Name, Annotated[Project, AfterValidator(_check_complete), BeforeValidator(_proxy)]], Field(min_length=1)
    ]


def read_projects(file: Path) -> Mapping[str, Project]:
    """Returns the projects by name, in the order of the file.

    The OperatorError names the wrong field, e.g. `projects.prod.region`.
    """
    return yaml_files.read(file, _parse, _describe)


@lru_cache(maxsize=1)  # the file is read every few seconds and changes once in months
def _parse(text: str) -> Mapping[str, Project]:
    return _ProjectsFile.model_validate(yaml_files.load(text)).projects


def _describe(problem: Any) -> str:
    """Never quotes the wrong value: it may be a secret."""
    path = [str(part) for part in problem["loc"]]
    if len(path) > 3 and path[2] == "credentials":
        del path[3]  # the union's tag, which pydantic inserts
    field = ".".join(path)
    match problem["type"]:
        case "is_instance_of":
            options = f"{path[-1]}_file (a mounted file) or {path[-1]}_env (the name of an environment variable)"
            return f"{field}: a secret does not belong in this file, which many can read: write {options}"
        case "union_tag_not_found":
            options = "token, user and password, access_key and secret_key, agency: true, or pod_identity: true"
            return f"{field}: give one of: {options}"
        case _:
            return describe_problem(problem, field)


def only_project(settings: Settings) -> dict[str, Project]:
    """Returns the project that the settings describe; an empty dict if they name none."""
    if not settings.cph_project_id:
        return {}
    project = Project.model_construct(
        project_id=settings.cph_project_id,
        region=settings.cph_region,
        endpoint=settings.cph_endpoint,
        iam_endpoint=settings.iam_endpoint,
        credentials=_only_credentials(settings),
    )
    return {DEFAULT_PROJECT: project}


def _only_credentials(settings: Settings) -> TokenCredentials | PasswordCredentials | AccessKeyCredentials | None:
    """Returns the first complete credentials. The settings hold their secrets, so their files are not re-read."""
    if settings.cph_token:
        return TokenCredentials(token=SecretSource(value=settings.cph_token))
    if settings.cph_access_key and settings.cph_secret_key:
        return AccessKeyCredentials(
            access_key=SecretSource(value=settings.cph_access_key),
            secret_key=SecretSource(value=settings.cph_secret_key),
            security_token=SecretSource(value=settings.cph_security_token) if settings.cph_security_token else None,
        )
    iam = settings.iam_endpoint or settings.cph_region
    if iam and settings.iam_user and settings.iam_password and settings.iam_domain:
        return PasswordCredentials(
            user=settings.iam_user, password=SecretSource(value=settings.iam_password), domain=settings.iam_domain
        )
    return None
