"""The operator's templates: a folder in, formats out. They see an event, never a URL, secret or header."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache, partial
from pathlib import Path
from traceback import walk_tb
from typing import Annotated, Any, Literal, Self

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import Field, model_validator

from app.config import yaml_files
from app.config.yaml_files import Strict, problem_in_words
from app.domain.errors import InvalidField, OperatorError, Unrenderable
from app.domain.event import Event
from app.domain.headers import check_headers
from app.domain.job import Job
from app.domain.verdict import Verdict, by_status
from app.domain.wire import to_json
from app.formats import links, standard
from app.formats.format import AnswerVerdict, Format, MessageOptions, Outgoing, ServiceAnswer
from app.formats.samples import SAMPLES

SOURCE, ABOUT = ".json.j2", ".yaml"
KEPT = 256
# So that `event.data.job.job_id | default(…)` copes with events that are about no job.
ALWAYS: Mapping[str, Any] = {
    **{"registration_id": None, "project": None, "job": None, "group": None},
    **{"jobs": [], "truncated": False, "metadata": {}},
}
PREFIX = "template:"

Render = Callable[[Sequence[Event], MessageOptions, datetime], Outgoing]
Status = Annotated[int, Field(ge=200, le=599)]


class _Success(Strict):
    """json: what the answer must hold, if it is an object; more may be in it."""

    status: Annotated[frozenset[Status], Field(min_length=1)] | None = None
    json_: dict[str, Any] = Field({}, alias="json")

    def is_told_by(self, answer: ServiceAnswer) -> bool:
        statuses = range(200, 300) if self.status is None else self.status
        return answer.status in statuses and (not self.json_ or _holds(_parsed(answer.body), self.json_))


class _About(Strict):
    method: Literal["POST"] = "POST"
    content_type: Annotated[str, Field(pattern=r"^[!-~]+/[!-~]+(; ?[!-~]+)?$")] = "application/json"
    headers: dict[str, str] = Field({})
    success: _Success = _Success()

    @model_validator(mode="after")
    def _sendable(self) -> Self:
        try:
            check_headers(self.headers)
        except InvalidField as error:
            raise ValueError(str(error)) from None
        return self


def read_templates(folder: Path) -> Mapping[str, Format]:
    """By name; the very same formats while their files stay the same.

    OperatorError names file, line and what is wrong, also when one of the samples cannot be told.
    """
    try:
        files = sorted(file for file in folder.iterdir() if file.name.endswith(SOURCE))
    except OSError as error:
        raise OperatorError(f"BRIDGE_TEMPLATES_DIR: cannot read {folder}: {error.strerror}") from None
    return {file.name.removesuffix(SOURCE): _read(file) for file in files}


def _read(file: Path) -> Format:
    about = file.with_name(file.name.removesuffix(SOURCE) + ABOUT)
    settings = yaml_files.read(about, _parse, _words) if about.exists() else _About()
    return _compiled(file, yaml_files.content(file), settings.model_dump_json(by_alias=True))


@lru_cache(maxsize=KEPT)
def _compiled(file: Path, source: str, about: str) -> Format:
    settings = _About.model_validate_json(about)
    # A template of its own each, for its name stands in what Python says of an error in it.
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
    environment.filters["tojson"] = partial(json.dumps, default=_not_json)
    try:
        template = environment.from_string(source)
    except TemplateSyntaxError as error:
        raise OperatorError(f"{file}: line {error.lineno}: {error.message}") from None
    name = file.name.removesuffix(SOURCE)
    for sample in SAMPLES:
        try:
            _body(template, name, sample, MessageOptions(url=""))
        except Unrenderable as error:
            raise OperatorError(f"{file}: {error}") from None
    sent = {"Content-Type": settings.content_type, **settings.headers}
    return Format(
        name=PREFIX + name,
        render=partial(_render, template, name, sent),
        judge=partial(_judge, settings.success),
        machine=True,
    )


def _render(
    template: Template, name: str, sent: Mapping[str, str], events: Sequence[Event], wishes: MessageOptions, _: datetime
) -> Outgoing:
    (event,) = events
    return Outgoing(wishes.url, _body(template, name, event, wishes), sent)


def _body(template: Template, name: str, event: Event, wishes: MessageOptions) -> bytes:
    """Unrenderable says for which event, in which line and why it gives no JSON."""
    told = json.loads(standard.render(event))
    told["data"] = {**ALWAYS, **told["data"]}
    prefix = f"template {name}, for {event.type}"
    try:
        link = links.filled(wishes.link, event, event.about if isinstance(event.about, Job) else None)
        text = template.render(event=told, language=wishes.language.value, link=link)
    except Exception as error:  # noqa: BLE001 - whatever the operator's expressions raise is theirs to mend
        line = _line(error, template)
        raise Unrenderable(f"{prefix}, line {line}: {_reason(error)}") from None
    try:
        return to_json(json.loads(text, parse_constant=_no_number)).encode()
    except json.JSONDecodeError as error:
        raise Unrenderable(f"{prefix}: gives no JSON: {error.msg} in line {error.lineno} of what it gives") from None
    except (ValueError, RecursionError) as error:
        raise Unrenderable(f"{prefix}: gives no JSON: {error}") from None


def _not_json(value: Any) -> str:
    """What is undefined says so itself when it is looked at."""
    raise TypeError(str(value))


def _line(error: BaseException, template: Template) -> int:
    """Jinja has its tracebacks speak of lines of the template."""
    lines = [line for frame, line in walk_tb(error.__traceback__) if frame.f_code.co_filename == template.filename]
    return lines[-1] if lines else 0


def _reason(error: Exception) -> str:
    """Jinja's own words; of other exceptions the kind alone: they may quote an event."""
    return str(error.message) if isinstance(error, TemplateError) else type(error).__name__


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is none")


def _judge(success: _Success, answer: ServiceAnswer) -> AnswerVerdict:
    if success.is_told_by(answer):
        return AnswerVerdict(Verdict.DELIVERED)
    verdict = by_status(answer.status)
    if verdict is Verdict.DELIVERED:
        return AnswerVerdict(Verdict.RETRY, f"{answer.status}, but not what the template takes for success")
    return AnswerVerdict(verdict, overloaded=answer.status == 429)


def _holds(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(_holds(found.get(name), value) for name, value in wanted.items())
    return bool(found == wanted)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _parse(text: str) -> _About:
    return _About.model_validate(yaml_files.load(text) or {})


def _words(problem: Any) -> str:
    return problem_in_words(problem, ".".join(str(part) for part in problem["loc"]))
