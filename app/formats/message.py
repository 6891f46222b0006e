"""Messages for people about events, before any service's markup is applied."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from itertools import chain

from app.domain.event import DestinationChange, Event, EventType, Group, OwnEventType
from app.domain.job import Job, JobState
from app.domain.times import parse_rfc3339, rfc3339
from app.domain.wire import to_json
from app.formats import links
from app.formats.format import Language, MessageOptions
from app.formats.sanitize import plain
from app.formats.translations import translate

MAX_TITLE, MAX_LABEL, MAX_ID, MIN_TEXT = 140, 40, 40, 24  # UTF-16 units
WORST_FIRST = (JobState.FAILED, JobState.LOST, JobState.OVERDUE, JobState.SUCCEEDED)
UNITS = (("days", 86_400), ("hours", 3_600), ("minutes", 60), ("seconds", 1))


class Severity(StrEnum):
    """Each format maps these to its own colours."""

    BAD = "bad"
    LOST = "lost"
    LATE = "late"
    GOOD = "good"
    NOTE = "note"


EMOJI = {Severity.GOOD: "✅", Severity.BAD: "❌", Severity.LOST: "❓", Severity.LATE: "⏰", Severity.NOTE: "🔔"}
HEX = {
    Severity.GOOD: "#2EB67D",
    Severity.BAD: "#E01E5A",
    Severity.LOST: "#8D8D8D",
    Severity.LATE: "#ECB22E",
    Severity.NOTE: "#1264A3",
}
SEVERITIES: Mapping[str, Severity] = {
    EventType.JOB_SUCCEEDED: Severity.GOOD,
    EventType.JOB_FAILED: Severity.BAD,
    EventType.JOB_LOST: Severity.LOST,
    EventType.JOB_OVERDUE: Severity.LATE,
    OwnEventType.CALLBACK_TEST: Severity.NOTE,
    OwnEventType.DESTINATION_DISABLED: Severity.BAD,
    OwnEventType.DESTINATION_REOPENED: Severity.GOOD,
}


@dataclass(frozen=True, slots=True)
class SpaceBudget:
    """Limits on a message's content. metadata: entries. text: UTF-16 units of each text from CPH or a tenant.

    jobs: jobs listed of a group. links: whether each of several jobs has its own link.
    """

    metadata: int
    text: int
    jobs: int
    links: bool = True

    @property
    def value(self) -> int:
        """Maximum length of a fact's value: never 0."""
        return max(self.text, MIN_TEXT)


@dataclass(frozen=True, slots=True)
class Fact:
    """exact: the value is an id, which people copy."""

    label: str
    value: str
    exact: bool = False


@dataclass(frozen=True, slots=True)
class MessageLine:
    """One of several jobs or events. name, about: contain untrusted text."""

    severity: Severity
    name: str
    about: str
    link: str | None

    @property
    def emoji(self) -> str:
        return EMOJI[self.severity]


@dataclass(frozen=True, slots=True)
class Message:
    """Each text is one line without invisible characters, not yet escaped.

    title: begins with the emoji. why: the bridge's own explanation. more: text with the number of omitted lines.
    link: URL, and its button's label.
    """

    severity: Severity
    title: str
    why: str | None = None
    facts: tuple[Fact, ...] = ()
    lines: tuple[MessageLine, ...] = ()
    more: str | None = None
    link: tuple[str, str] | None = None


def message(events: Sequence[Event], options: MessageOptions, space: SpaceBudget) -> Message:
    if len(events) > 1:
        return _digest(events, options, space)
    event, language = events[0], options.language
    url = links.filled(options.link, event, event.about if isinstance(event.about, Job) else None)
    lines, more = _group_lines(event, event.about, options, space) if isinstance(event.about, Group) else ((), 0)
    facts = (*_facts(event, language, space), *_metadata(event, space))
    return Message(
        severity=_severity(event),
        title=_title_with_emoji(event, language),
        why=_why(event, language),
        facts=tuple(fact for fact in facts if fact.label and fact.value),
        lines=lines,
        more=translate(language, "more", n=more) if more else None,
        link=(url, translate(language, "open")) if url else None,
    )


def _digest(events: Sequence[Event], options: MessageOptions, space: SpaceBudget) -> Message:
    """Lists every event, worst first, whatever the space."""
    language = options.language
    kinds = Counter(_kind(event) for event in events)
    counts = _format_counts(((kind, kinds[kind]) for kind in (*WORST_FIRST, "group", "other")), language)
    severities = list(Severity)
    ordered = sorted(events, key=lambda event: severities.index(_severity(event)))
    severity = _severity(ordered[0])
    return Message(
        severity=severity,
        title=f"{EMOJI[severity]} {translate(language, 'digest', total=len(events), counts=counts)}",
        lines=tuple(_event_line(event, options, space) for event in ordered),
    )


def _kind(event: Event) -> str:
    if isinstance(event.about, Job):
        return event.about.state
    return "group" if isinstance(event.about, Group) else "other"


def _severity(event: Event) -> Severity:
    if isinstance(event.about, Group):
        counts = event.about.counts
        worst = next((state for state in WORST_FIRST if counts.get(state)), JobState.SUCCEEDED)
        return _severity_of_state(worst)
    return SEVERITIES[event.type]


def _severity_of_state(state: JobState) -> Severity:
    return SEVERITIES.get(f"job.{state}", Severity.NOTE)


def _title_with_emoji(event: Event, language: Language) -> str:
    return f"{EMOJI[_severity(event)]} {plain(_title(event, language), MAX_TITLE)}"


def _title(event: Event, language: Language) -> str:
    match event.about:
        case Job() as job:
            return translate(language, event.type, subject=_subject(job, language))
        case Group(total=total, counts=counts):
            key = event.type + (".one" if total == 1 else "")
            return translate(language, key, total=total, counts=_format_counts(counts.items(), language))
        case DestinationChange(destination=destination):
            return translate(language, event.type, subject=destination)
        case _:
            return translate(language, event.type)


def _format_counts(counts: Iterable[tuple[str, int]], language: Language) -> str:
    texts = (translate(language, kind, n=count) for kind, count in counts if count)
    return translate(language, "comma").join(texts)


def _subject(job: Job, language: Language) -> str:
    """Returns the name by which people know the job: the first known of phone, server, job and request."""
    ids = (("phone", job.phone_id), ("server", job.server_id), ("job", job.job_id), ("request", job.request_id))
    cleaned = ((kind, plain(id or "", MAX_ID)) for kind, id in ids)
    return next((translate(language, kind, id=id) for kind, id in cleaned if id), translate(language, "nameless"))


def _why(event: Event, language: Language) -> str | None:
    if isinstance(event.about, Job) and event.about.unresolved:
        return translate(language, event.about.unresolved.reason)
    key = f"{event.type}.why"
    types = (EventType.JOB_LOST, EventType.JOB_OVERDUE, *OwnEventType)
    return translate(language, key) if event.type in types else None


def _facts(event: Event, language: Language, space: SpaceBudget) -> Iterator[Fact]:
    """Facts may lack a value; `message` omits these."""
    match event.about:
        case Job() as job:
            yield from _facts_of_job(job, language, space)
        case DestinationChange() as change:
            yield Fact(translate(language, "Tenant"), plain(change.tenant, space.value))
            yield Fact(translate(language, "Since"), rfc3339(change.since))
            yield Fact(translate(language, "Failures"), str(change.failures))
            yield Fact(translate(language, "Held"), str(change.held))
            return
    yield Fact(translate(language, "Project"), plain(event.project or "", space.value))
    if not isinstance(event.about, Job):
        yield Fact(translate(language, "Registration"), plain(event.registration_id or "", MAX_ID), exact=True)


def _facts_of_job(job: Job, language: Language, space: SpaceBudget) -> Iterator[Fact]:
    yield Fact(translate(language, "Error"), _error(job, language, space.value))
    if unresolved := job.unresolved:
        answered = unresolved.last_answer_at
        yield Fact(translate(language, "Last answer"), rfc3339(answered) if answered else "")
        yield Fact(translate(language, "Last error"), plain(unresolved.last_error or "", MAX_ID))
    yield Fact(translate(language, "Took"), _elapsed(job, language))
    if job.phone_id:  # otherwise the title names the server
        yield Fact(translate(language, "Server"), plain(job.server_id or "", MAX_ID), exact=True)
    yield Fact(translate(language, "Job"), plain(job.job_id or "", MAX_ID), exact=True)
    yield Fact(translate(language, "Request"), plain(job.request_id or "", MAX_ID), exact=True)


def _error(job: Job, language: Language, max_length: int) -> str:
    """Returns code and message, never `execute_msg`, which may contain a command's output."""
    if job.state is JobState.SUCCEEDED:
        return ""
    parts = (plain(job.error_code or "", MAX_ID), plain(job.error_msg or "", max_length))
    return plain(translate(language, "colon").join(filter(None, parts)), max_length)


def _reason(job: Job, language: Language) -> str:
    """Returns why a job has no result, with the code of the last error."""
    if job.unresolved is None:
        return ""
    reason, code = translate(language, job.unresolved.reason), plain(job.unresolved.last_error or "", MAX_ID)
    return f"{reason} ({code})" if code else reason


def _elapsed(job: Job, language: Language) -> str:
    begin, end = parse_rfc3339(job.begin_time), parse_rfc3339(job.end_time)
    return _format_duration(end - begin, language) if begin and end and end >= begin else ""


def _format_duration(duration: timedelta, language: Language) -> str:
    """Shows the two largest units: seconds matter for a minute, not for a day."""
    left, counts = round(duration.total_seconds()), []
    for unit, length in UNITS:
        count, left = divmod(left, length)
        counts.append((unit, count))
    first = next((index for index, (_, count) in enumerate(counts) if count), len(UNITS) - 1)
    texts = (translate(language, unit, n=count) for unit, count in counts[first : first + 2] if count)
    return " ".join(texts) or translate(language, "seconds", n=0)


def _metadata(event: Event, space: SpaceBudget) -> Iterator[Fact]:
    """Returns the first entries, in the tenant's order."""
    for name, value in list(event.metadata.items())[: space.metadata]:
        text = value if isinstance(value, str) else to_json(value)
        yield Fact(plain(name, MAX_LABEL), plain(text, space.value))


def _group_lines(
    event: Event, group: Group, options: MessageOptions, space: SpaceBudget
) -> tuple[tuple[MessageLine, ...], int]:
    """Returns the lines, jobs that did not succeed first, and the number of omitted jobs."""
    ordered = sorted(group.jobs, key=lambda job: WORST_FIRST.index(job.state) if job.state.ended else 0)
    shown = ordered[: space.jobs]
    own_page = space.links and links.is_per_job(options.link)
    lines = (
        _job_line(job, links.filled(options.link, event, job) if own_page else None, options, space) for job in shown
    )
    return tuple(lines), max(group.total, len(ordered)) - len(shown)


def _event_line(event: Event, options: MessageOptions, space: SpaceBudget) -> MessageLine:
    job = event.about if isinstance(event.about, Job) else None
    url = links.filled(options.link, event, job) if space.links else None
    if job:
        return _job_line(job, url, options, space)
    title, id = plain(_title(event, options.language), MAX_TITLE), plain(event.registration_id or "", MAX_ID)
    if not space.text:
        return MessageLine(_severity(event), id or plain(title, MAX_ID), "", url)
    return MessageLine(_severity(event), title, id, url)


def _job_line(job: Job, url: str | None, options: MessageOptions, space: SpaceBudget) -> MessageLine:
    """Shows only the job's id, if it has one, when there is no space for text."""
    id = plain(job.job_id or "", MAX_ID)
    name = _subject(job, options.language)
    if id and not space.text:
        name = id
    error = _error(job, options.language, space.text) or _reason(job, options.language) if space.text else ""
    about = chain((error,), (id,) if id not in name else ())
    return MessageLine(_severity_of_state(job.state), name, " · ".join(filter(None, about)), url)
