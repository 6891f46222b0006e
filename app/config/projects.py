"""The CPH projects of a deployment: a YAML file in, records out; secrets stay where the file says they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, InstanceOf, SecretStr, Tag

from app.config import yaml_files
from app.config.settings import Settings
from app.config.yaml_files import Strict, problem_in_words
from app.domain.errors import OperatorError


@dataclass(frozen=True, slots=True)
class SecretSource:
    """Where a secret is: in a file, in an environment variable, or here, when the environment gave it already."""

    file: Path | None = None
    env: str | None = None
    value: SecretStr | None = None

    def read(self, environment: Mapping[str, str]) -> str:
        """OperatorError says which place holds none."""
        if self.value:
            return self.value.get_secret_value()
        found = yaml_files.content(self.file).strip() if self.file else environment.get(self.env or "", "")
        if not found:
            raise OperatorError(f"{self.file or self.env} holds no secret")
        return found


DEFAULT_PROJECT = "default"
SecretPlace = InstanceOf[SecretSource]
# A colon would end a part of a key in Redis.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
Text = Annotated[str, Field(min_length=1)]
Url = Annotated[str, Field(pattern=r"^https?://[^/?#\s]+/?$")]


class TokenCredentials(Strict):
    """It is not renewed."""

    token: SecretPlace


class PasswordCredentials(Strict):
    user: Text
    password: SecretPlace
    domain: Text


class AccessKeyCredentials(Strict):
    """With a security token: a temporary one."""

    kind: ClassVar[str] = "access_key"
    access_key: SecretPlace
    secret_key: SecretPlace
    security_token: SecretPlace | None = None


class AgencyCredentials(Strict):
    """Temporary keys that the ECS host hands out."""

    kind: ClassVar[str] = "agency"
    agency: Literal[True]


class PodIdentityCredentials(Strict):
    """Temporary keys that CCE hands out."""

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
    """`password_file: /a` and `password_env: A` become the secret `password`."""
    if not isinstance(value, dict):
        return value
    fields = dict(value)
    # An access key's id is no secret, but it may be kept beside its other half.
    if isinstance(id := fields.get("access_key"), str):
        fields["access_key"] = SecretSource(value=SecretStr(id))
    for name in SECRETS:
        given = [field for field in (name, f"{name}_file", f"{name}_env") if field in fields]
        if len(given) > 1:
            raise ValueError(f"give one of {' and '.join(given)}")
        if given and given != [name]:
            fields[name] = _place(given[0], fields.pop(given[0]))
    return fields


def _place(field: str, value: Any) -> SecretSource:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{field} must be a text")
    return SecretSource(file=Path(value)) if field.endswith("_file") else SecretSource(env=value)


def _tag(value: Any) -> str | None:
    return next((tag for field, tag in TAG_OF.items() if field in value), None) if isinstance(value, dict) else None


Kinds = (
    Annotated[TokenCredentials, Tag("token")]
    | Annotated[PasswordCredentials, Tag("password")]
    | Annotated[AccessKeyCredentials, Tag("access_key")]
    | Annotated[AgencyCredentials, Tag("agency")]
    | Annotated[PodIdentityCredentials, Tag("pod_identity")]
)
Credentials = TokenCredentials | PasswordCredentials | AccessKeyCredentials | AgencyCredentials | PodIdentityCredentials


class Project(Strict):
    """Without `rate` the deployment's holds. Only who asks CPH needs its address and credentials."""

    project_id: Text
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")] | None = None
    endpoint: Url | None = None
    iam_endpoint: Url | None = None
    credentials: Annotated[Kinds, Discriminator(_tag), BeforeValidator(_with_secrets)] | None = None
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


def _whole(project: Project) -> Project:
    if (project.region is None) == (project.endpoint is None):
        raise ValueError("give one of region and endpoint")
    if project.credentials is None:
        raise ValueError("credentials are missing")
    if isinstance(project.credentials, PasswordCredentials) and not (project.region or project.iam_endpoint):
        raise ValueError("without a region, user and password need iam_endpoint")
    return project


class _ProjectsFile(Strict):
    projects: Annotated[dict[Name, Annotated[Project, AfterValidator(_whole)]], Field(min_length=1)]


def read_projects(file: Path) -> Mapping[str, Project]:
    """By name, in the order of the file. OperatorError names what is wrong, e.g. `projects.prod.region`."""
    return yaml_files.read(file, _parse, _words)


@lru_cache(maxsize=1)  # it is read every few seconds, and changes once in months
def _parse(text: str) -> Mapping[str, Project]:
    return _ProjectsFile.model_validate(yaml_files.load(text)).projects


def _words(problem: Any) -> str:
    """Never with the value that is wrong: it may be a secret."""
    path = [str(part) for part in problem["loc"]]
    if len(path) > 3 and path[2] == "credentials":
        del path[3]  # pydantic's name of the kind
    place = ".".join(path)
    match problem["type"]:
        case "is_instance_of":
            ways = f"{path[-1]}_file (a mounted file) or {path[-1]}_env (the name of an environment variable)"
            return f"{place}: a secret does not belong into this file, which many can read: write {ways}"
        case "union_tag_not_found":
            ways = "token, user and password, access_key and secret_key, agency: true, or pod_identity: true"
            return f"{place}: say how to log in: {ways}"
        case _:
            return problem_in_words(problem, place)


def only_project(settings: Settings) -> dict[str, Project]:
    """The project that the environment alone describes; none if it does not."""
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
    """The first that is whole. Its secrets are here already, so that files of theirs are not read anew."""
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
