"""What people are told: events in words, before any service's markup."""

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

TITLE, LABEL, ID, SHORTEST = 140, 40, 40, 24
WORST_FIRST = (JobState.FAILED, JobState.LOST, JobState.OVERDUE, JobState.SUCCEEDED)
UNITS = (("days", 86_400), ("hours", 3_600), ("minutes", 60), ("seconds", 1))


class Severity(StrEnum):
    """How good the news is; each format has its colours for it."""

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
TONES: Mapping[str, Severity] = {
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
    """How much may be said. metadata: entries. text: characters of what CPH and tenants say. jobs: of a group.

    links: whether each of several jobs has its own.
    """

    metadata: int
    text: int
    jobs: int
    links: bool = True

    @property
    def value(self) -> int:
        """Of a fact: a bit is always said."""
        return max(self.text, SHORTEST)


@dataclass(frozen=True, slots=True)
class Fact:
    """exact: an id, which people copy."""

    label: str
    value: str
    exact: bool = False


@dataclass(frozen=True, slots=True)
class MessageLine:
    """One of several jobs or events. name, about: other people's text is in both."""

    severity: Severity
    name: str
    about: str
    link: str | None

    @property
    def sign(self) -> str:
        return EMOJI[self.severity]


@dataclass(frozen=True, slots=True)
class Message:
    """Each text is one line without anything hidden in it, and not escaped yet.

    title: begins with the sign. why: our own words. more: how many lines are left out, in words.
    link: and what its button says.
    """

    severity: Severity
    title: str
    why: str | None = None
    facts: tuple[Fact, ...] = ()
    lines: tuple[MessageLine, ...] = ()
    more: str | None = None
    link: tuple[str, str] | None = None


def message(events: Sequence[Event], wishes: MessageOptions, room: SpaceBudget) -> Message:
    if len(events) > 1:
        return _digest(events, wishes, room)
    event, language = events[0], wishes.language
    url = links.filled(wishes.link, event, event.about if isinstance(event.about, Job) else None)
    lines, more = _lines(event, event.about, wishes, room) if isinstance(event.about, Group) else ((), 0)
    facts = (*_facts(event, language, room), *_metadata(event, room))
    return Message(
        severity=_tone(event),
        title=_titled(event, language),
        why=_why(event, language),
        facts=tuple(fact for fact in facts if fact.label and fact.value),
        lines=lines,
        more=translate(language, "more", n=more) if more else None,
        link=(url, translate(language, "open")) if url else None,
    )


def _digest(events: Sequence[Event], wishes: MessageOptions, room: SpaceBudget) -> Message:
    """All of them named, the worst first, whatever the room."""
    language = wishes.language
    kinds = Counter(_kind(event) for event in events)
    counts = _counted(((kind, kinds[kind]) for kind in (*WORST_FIRST, "group", "other")), language)
    tones = list(Severity)
    ordered = sorted(events, key=lambda event: tones.index(_tone(event)))
    tone = _tone(ordered[0])
    return Message(
        severity=tone,
        title=f"{EMOJI[tone]} {translate(language, 'digest', total=len(events), counts=counts)}",
        lines=tuple(_line_of(event, wishes, room) for event in ordered),
    )


def _kind(event: Event) -> str:
    if isinstance(event.about, Job):
        return event.about.state
    return "group" if isinstance(event.about, Group) else "other"


def _tone(event: Event) -> Severity:
    if isinstance(event.about, Group):
        counts = event.about.counts
        worst = next((state for state in WORST_FIRST if counts.get(state)), JobState.SUCCEEDED)
        return _tone_of(worst)
    return TONES[event.type]


def _tone_of(state: JobState) -> Severity:
    return TONES.get(f"job.{state}", Severity.NOTE)


def _titled(event: Event, language: Language) -> str:
    return f"{EMOJI[_tone(event)]} {plain(_title(event, language), TITLE)}"


def _title(event: Event, language: Language) -> str:
    match event.about:
        case Job() as job:
            return translate(language, event.type, subject=_subject(job, language))
        case Group(total=total, counts=counts):
            key = event.type + (".one" if total == 1 else "")
            return translate(language, key, total=total, counts=_counted(counts.items(), language))
        case DestinationChange(destination=destination):
            return translate(language, event.type, subject=destination)
        case _:
            return translate(language, event.type)


def _counted(counts: Iterable[tuple[str, int]], language: Language) -> str:
    said = (translate(language, kind, n=count) for kind, count in counts if count)
    return translate(language, "comma").join(said)


def _subject(job: Job, language: Language) -> str:
    """What people know it by."""
    named = (("phone", job.phone_id), ("server", job.server_id), ("job", job.job_id), ("request", job.request_id))
    found = ((kind, plain(id or "", ID)) for kind, id in named)
    return next((translate(language, kind, id=id) for kind, id in found if id), translate(language, "nameless"))


def _why(event: Event, language: Language) -> str | None:
    key = f"{event.type}.why"
    explained = (EventType.JOB_LOST, EventType.JOB_OVERDUE, *OwnEventType)
    return translate(language, key) if event.type in explained else None


def _facts(event: Event, language: Language, room: SpaceBudget) -> Iterator[Fact]:
    """Those without a value are not shown."""
    match event.about:
        case Job() as job:
            yield from _facts_of_job(job, language, room)
        case DestinationChange() as change:
            yield Fact(translate(language, "Tenant"), plain(change.tenant, room.value))
            yield Fact(translate(language, "Since"), rfc3339(change.since))
            yield Fact(translate(language, "Failures"), str(change.failures))
            yield Fact(translate(language, "Held"), str(change.held))
            return
    yield Fact(translate(language, "Project"), plain(event.project or "", room.value))
    if not isinstance(event.about, Job):
        yield Fact(translate(language, "Registration"), plain(event.registration_id or "", ID), exact=True)


def _facts_of_job(job: Job, language: Language, room: SpaceBudget) -> Iterator[Fact]:
    yield Fact(translate(language, "Error"), _error(job, language, room.value))
    yield Fact(translate(language, "Took"), _took(job, language))
    if job.phone_id:  # else the title names the server
        yield Fact(translate(language, "Server"), plain(job.server_id or "", ID), exact=True)
    yield Fact(translate(language, "Job"), plain(job.job_id or "", ID), exact=True)
    yield Fact(translate(language, "Request"), plain(job.request_id or "", ID), exact=True)


def _error(job: Job, language: Language, longest: int) -> str:
    """Code and words. `execute_msg` never: it may hold what a command printed."""
    if job.state is JobState.SUCCEEDED:
        return ""
    parts = (plain(job.error_code or "", ID), plain(job.error_msg or "", longest))
    return plain(translate(language, "colon").join(filter(None, parts)), longest)


def _took(job: Job, language: Language) -> str:
    begin, end = parse_rfc3339(job.begin_time), parse_rfc3339(job.end_time)
    return _duration(end - begin, language) if begin and end and end >= begin else ""


def _duration(duration: timedelta, language: Language) -> str:
    """The two biggest units: seconds matter for a minute, not for a day."""
    left, counts = round(duration.total_seconds()), []
    for unit, length in UNITS:
        count, left = divmod(left, length)
        counts.append((unit, count))
    first = next((place for place, (_, count) in enumerate(counts) if count), len(UNITS) - 1)
    said = (translate(language, unit, n=count) for unit, count in counts[first : first + 2] if count)
    return " ".join(said) or translate(language, "seconds", n=0)


def _metadata(event: Event, room: SpaceBudget) -> Iterator[Fact]:
    """What the tenant wants to find again; first come."""
    for name, value in list(event.metadata.items())[: room.metadata]:
        text = value if isinstance(value, str) else to_json(value)
        yield Fact(plain(name, LABEL), plain(text, room.value))


def _lines(
    event: Event, group: Group, wishes: MessageOptions, room: SpaceBudget
) -> tuple[tuple[MessageLine, ...], int]:
    """Those that did not succeed first, and how many there are beside them."""
    ordered = sorted(group.jobs, key=lambda job: WORST_FIRST.index(job.state) if job.state.ended else 0)
    shown = ordered[: room.jobs]
    own_page = room.links and links.is_of_a_job(wishes.link)
    lines = (_line(job, links.filled(wishes.link, event, job) if own_page else None, wishes, room) for job in shown)
    return tuple(lines), max(group.total, len(ordered)) - len(shown)


def _line_of(event: Event, wishes: MessageOptions, room: SpaceBudget) -> MessageLine:
    job = event.about if isinstance(event.about, Job) else None
    url = links.filled(wishes.link, event, job) if room.links else None
    if job:
        return _line(job, url, wishes, room)
    title, id = plain(_title(event, wishes.language), TITLE), plain(event.registration_id or "", ID)
    if not room.text:
        return MessageLine(_tone(event), id or plain(title, ID), "", url)
    return MessageLine(_tone(event), title, id, url)


def _line(job: Job, url: str | None, wishes: MessageOptions, room: SpaceBudget) -> MessageLine:
    """Its id alone, if there is no room for more."""
    id = plain(job.job_id or "", ID)
    name = _subject(job, wishes.language)
    if id and not room.text:
        name = id
    error = _error(job, wishes.language, room.text) if room.text else ""
    about = chain((error,), (id,) if id not in name else ())
    return MessageLine(_tone_of(job.state), name, " · ".join(filter(None, about)), url)
