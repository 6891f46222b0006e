"""Compiles the operator's folder of templates into formats. They see an event, never a URL, secret or header."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from app.config import template_renderer, yaml_files
from app.config.yaml_files import Strict, describe_problem
from app.domain.errors import InvalidField, OperatorError, Unavailable, Unrenderable
from app.domain.event import Event
from app.domain.headers import check_headers
from app.domain.job import Job
from app.domain.verdict import Verdict, by_status
from app.formats import links, standard
from app.formats.format import AnswerVerdict, Format, MessageOptions, Outgoing, ServiceAnswer
from app.formats.samples import SAMPLES

SOURCE_SUFFIX, SETTINGS_SUFFIX = ".json.j2", ".yaml"
CACHE_SIZE = 256
# Lets `event.data.job.job_id | default(…)` work for events that are not about a job.
DATA_DEFAULTS: Mapping[str, Any] = {
    **{"registration_id": None, "project": None, "job": None, "group": None},
    **{"jobs": [], "truncated": False, "metadata": {}},
}
PREFIX = "template:"

Render = Callable[[Sequence[Event], MessageOptions, datetime], Outgoing]
Status = Annotated[int, Field(ge=200, le=599)]


class _Success(Strict):
    """Which answers the template counts as success.

    json: what the answer's JSON must contain; its objects may have more members.
    """

    status: Annotated[frozenset[Status], Field(min_length=1)] | None = None
    json_: dict[str, Any] = Field({}, alias="json")

    def matches(self, answer: ServiceAnswer) -> bool:
        statuses = range(200, 300) if self.status is None else self.status
        return answer.status in statuses and (not self.json_ or _contains(_parse_json(answer.body), self.json_))


class _TemplateSettings(Strict):
    method: Literal["POST"] = "POST"
    content_type: Annotated[str, Field(pattern=r"^[!-~]+/[!-~]+(; ?[!-~]+)?$")] = "application/json"
    headers: dict[str, str] = Field({})
    success: _Success = _Success()

    @model_validator(mode="after")
    def _check_headers(self) -> Self:
        try:
            check_headers(self.headers)
        except InvalidField as error:
            raise ValueError(str(error)) from None
        return self


def read_templates(folder: Path) -> Mapping[str, Format]:
    """Returns the templates by name; the same formats while their files do not change.

    The OperatorError names file, line and reason; a template that fails on a sample event raises it too.
    """
    try:
        files = sorted(file for file in folder.iterdir() if file.name.endswith(SOURCE_SUFFIX))
    except OSError as error:
        raise OperatorError(f"BRIDGE_TEMPLATES_DIR: cannot read {folder}: {error.strerror}") from None
    return {file.name.removesuffix(SOURCE_SUFFIX): _read(file) for file in files}


def _read(file: Path) -> Format:
    settings_file = file.with_name(file.name.removesuffix(SOURCE_SUFFIX) + SETTINGS_SUFFIX)
    settings = yaml_files.read(settings_file, _parse, _describe) if settings_file.exists() else _TemplateSettings()
    return _compile(file, yaml_files.content(file), settings.model_dump_json(by_alias=True))


# `file` is part of the cache key because error messages name the template.
@lru_cache(maxsize=CACHE_SIZE)
def _compile(file: Path, source: str, settings_json: str) -> Format:
    settings = _TemplateSettings.model_validate_json(settings_json)
    name = file.name.removesuffix(SOURCE_SUFFIX)
    for sample in SAMPLES:
        try:
            _body(source, name, sample, MessageOptions(url=""))
        except (Unrenderable, Unavailable) as error:
            raise OperatorError(f"{file}: {error}") from None
    headers = {"Content-Type": settings.content_type, **settings.headers}
    return Format(
        name=PREFIX + name,
        render=partial(_render, source, name, headers),
        judge=partial(_judge, settings.success),
        machine=True,
    )


def _render(
    source: str,
    name: str,
    headers: Mapping[str, str],
    events: Sequence[Event],
    options: MessageOptions,
    _: datetime,
) -> Outgoing:
    (event,) = events
    return Outgoing(options.url, _body(source, name, event, options), headers)


def _body(source: str, name: str, event: Event, options: MessageOptions) -> bytes:
    """Renders an event as JSON. Raises Unrenderable, naming event, line and reason, if the template gives no JSON."""
    payload = standard.body(event)
    payload["data"] = {**DATA_DEFAULTS, **payload["data"]}
    link = links.filled(options.link, event, event.about if isinstance(event.about, Job) else None)
    variables = {"event": payload, "language": options.language.value, "link": link}
    return template_renderer.render(f"template {name}, for {event.type}", source, variables)


def _judge(success: _Success, answer: ServiceAnswer) -> AnswerVerdict:
    if success.matches(answer):
        return AnswerVerdict(Verdict.DELIVERED)
    verdict = by_status(answer.status)
    if verdict is Verdict.DELIVERED:
        return AnswerVerdict(Verdict.RETRY, f"{answer.status}, but not the success that the template defines")
    return AnswerVerdict(verdict, overloaded=answer.status == 429)


def _contains(found: Any, expected: Any) -> bool:
    if isinstance(expected, dict):
        return isinstance(found, dict) and all(_contains(found.get(name), value) for name, value in expected.items())
    return bool(found == expected)


def _parse_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _parse(text: str) -> _TemplateSettings:
    return _TemplateSettings.model_validate(yaml_files.load(text) or {})


def _describe(problem: Any) -> str:
    return describe_problem(problem, ".".join(str(part) for part in problem["loc"]))
