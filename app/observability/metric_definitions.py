"""The one list of what is measured; docs/metrics.md is made of it."""

from dataclasses import dataclass
from enum import StrEnum

PREFIX = "cph_bridge_"


class MetricKind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class MetricSource(StrEnum):
    """Where a number comes from, so whose it is."""

    API = "counted by the API"
    POLL = "counted by each poll worker"
    DELIVER = "counted by each deliver worker"
    REDIS = "read from Redis"


@dataclass(frozen=True, slots=True)
class MetricDefinition:
    """labels: of few values each, none that a caller can make up; `by_tenant`: one more, if the operator asks for it.

    buckets: upper bounds, of a histogram.
    """

    name: str
    kind: MetricKind
    source: MetricSource
    meaning: str
    labels: tuple[str, ...] = ()
    by_tenant: bool = False
    buckets: tuple[float, ...] = ()

    @property
    def full_name(self) -> str:
        return PREFIX + self.name


REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)
ATTEMPT_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
ARRIVAL_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800, 7_200, 86_400)

REQUESTS = MetricDefinition(
    "api_request_duration_seconds",
    MetricKind.HISTOGRAM,
    MetricSource.API,
    "Time to answer a request; `route` is its pattern, `none` where there is none."
    " Answers that wait (`wait_s`) count in full.",
    ("method", "route", "status"),
    buckets=REQUEST_BUCKETS,
)
REGISTRATIONS = MetricDefinition(
    "registrations_total",
    MetricKind.COUNTER,
    MetricSource.API,
    "Registrations that were taken.",
    ("project",),
    by_tenant=True,
)

POLLS = MetricDefinition(
    "polls_total",
    MetricKind.COUNTER,
    MetricSource.POLL,
    "Calls to CPH (`show_job`, `list_jobs`: one a page) by what came of them: `answered`, `unknown` (CPH does not know"
    " the job or request), `throttled`, `refused` (our credentials), `forbidden` (to list), `unanswered` (all else).",
    ("project", "call", "outcome"),
)
CALLS_SAVED = MetricDefinition(
    "calls_saved_total",
    MetricKind.COUNTER,
    MetricSource.POLL,
    "Calls that asking for many jobs at once has saved: jobs of which lists told that were known to be waited for, less"
    " the pages.",
    ("project",),
)
UNKNOWN_STATUSES = MetricDefinition(
    "unknown_statuses_total",
    MetricKind.COUNTER,
    MetricSource.POLL,
    "Answers with a status of a job that this version does not know; the job is watched on.",
    ("project",),
)

ATTEMPTS = MetricDefinition(
    "attempts_total",
    MetricKind.COUNTER,
    MetricSource.DELIVER,
    "Attempts by format (`template` for the operator's own) and verdict: `delivered`, `retry`, `gone`, `refused`.",
    ("format", "verdict"),
    by_tenant=True,
)
ATTEMPT_DURATION = MetricDefinition(
    "attempt_duration_seconds",
    MetricKind.HISTOGRAM,
    MetricSource.DELIVER,
    "Time of an attempt: name lookup, connecting, TLS, sending, and reading the answer.",
    buckets=ATTEMPT_BUCKETS,
)
DELIVERED_AFTER = MetricDefinition(
    "delivered_after_seconds",
    MetricKind.HISTOGRAM,
    MetricSource.DELIVER,
    "From the end of the job, as CPH gives it (else when it was seen), to the callback's arrival, for each event;"
    " from its registration if that came later. Tests and what operators are told do not count.",
    buckets=ARRIVAL_BUCKETS,
)
DEATHS = MetricDefinition(
    "deaths_total",
    MetricKind.COUNTER,
    MetricSource.DELIVER,
    "Deliveries that workers gave up, by why.",
    ("reason",),
    by_tenant=True,
)

REDIS_UP = MetricDefinition(
    "redis_up",
    MetricKind.GAUGE,
    MetricSource.REDIS,
    "1 if Redis could be read, and is fit; with 0 all else that is read from it is missing.",
)
REDIS_MEMORY = MetricDefinition(
    "redis_memory_used_bytes", MetricKind.GAUGE, MetricSource.REDIS, "Memory that Redis uses."
)
REDIS_MEMORY_MOST = MetricDefinition(
    "redis_memory_max_bytes",
    MetricKind.GAUGE,
    MetricSource.REDIS,
    "Its `maxmemory`; 0 if it has none, which it should have.",
)
WATCHING = MetricDefinition(
    "registrations_watching", MetricKind.GAUGE, MetricSource.REDIS, "Registrations that are not finished."
)
WATCHES = MetricDefinition(
    "watches",
    MetricKind.GAUGE,
    MetricSource.REDIS,
    "Jobs that are watched: `pending` (not shown by CPH yet), `running`.",
    ("state",),
)
JOBS_ENDED = MetricDefinition(
    "jobs_ended_total",
    MetricKind.COUNTER,
    MetricSource.REDIS,
    "Watched jobs that have ended, each once: `succeeded`, `failed`, `lost`. It goes on when processes end.",
    ("project", "state"),
)
DELIVERIES = MetricDefinition(
    "deliveries",
    MetricKind.GAUGE,
    MetricSource.REDIS,
    "Deliveries that are `pending`, `held` (of up to 400 destinations) or `dead`, until these are forgotten.",
    ("state",),
)
DESTINATIONS = MetricDefinition(
    "destinations",
    MetricKind.GAUGE,
    MetricSource.REDIS,
    "Destinations of all tenants: `failing` (the breaker is open), `paused`, `disabled`; one may be failing and held.",
    ("state",),
)
DUE = MetricDefinition(
    "due",
    MetricKind.GAUGE,
    MetricSource.REDIS,
    "What is due and in nobody's hands (`poll`, `deliver`), without what is paused, held or behind a breaker. Of more"
    " than 200 destinations, each of the others counts as one. To scale workers by.",
    ("agenda",),
)
POLLS_LATE = MetricDefinition(
    "polls_late_seconds",
    MetricKind.GAUGE,
    MetricSource.REDIS,
    "For how long the oldest poll that is due has waited; 0 while the project is paused or refused.",
    ("project",),
)
DELIVERIES_LATE = MetricDefinition(
    "deliveries_late_seconds",
    MetricKind.GAUGE,
    MetricSource.REDIS,
    "For how long the oldest delivery has waited that a worker might have taken: not what its destination holds up.",
)
RATE = MetricDefinition(
    "project_rate", MetricKind.GAUGE, MetricSource.REDIS, "Calls a second that the project may make now.", ("project",)
)
THROTTLED = MetricDefinition(
    "project_throttled",
    MetricKind.GAUGE,
    MetricSource.REDIS,
    "1 while that is less than its own rate, as CPH throttles.",
    ("project",),
)
CALLS_LEFT = MetricDefinition(
    "project_calls_left", MetricKind.GAUGE, MetricSource.REDIS, "Calls that it could make at once.", ("project",)
)
REFUSED = MetricDefinition(
    "project_refused",
    MetricKind.GAUGE,
    MetricSource.REDIS,
    "1 while CPH or IAM turns us away: an operator must act.",
    ("project",),
)
CREDENTIALS_LEFT = MetricDefinition(
    "project_credentials_left_seconds",
    MetricKind.GAUGE,
    MetricSource.REDIS,
    "How long the credentials in use are still good; missing where they have no end. Tokens are renewed before it.",
    ("project",),
)
QUEUED = MetricDefinition(
    "rq_jobs", MetricKind.GAUGE, MetricSource.REDIS, "Wake-ups that wait in RQ's queue: 0 or 1, mostly.", ("kind",)
)
WORKERS = MetricDefinition(
    "workers",
    MetricKind.GAUGE,
    MetricSource.REDIS,
    "Workers that RQ has heard of; of one that was killed it knows after some minutes.",
    ("kind",),
)
LOOK_AGE = MetricDefinition(
    "dispatcher_look_age_seconds",
    MetricKind.GAUGE,
    MetricSource.REDIS,
    "How long ago the dispatcher was at what is due; told about once a second.",
)
LOOKS = MetricDefinition(
    "dispatcher_looks_total",
    MetricKind.COUNTER,
    MetricSource.REDIS,
    "Its looks, of all workers together: at least two a second.",
)
OVERDUE = MetricDefinition(
    "registrations_overdue_total",
    MetricKind.COUNTER,
    MetricSource.REDIS,
    "Registrations whose deadline came before their end.",
)

ALL = tuple(each for each in list(globals().values()) if isinstance(each, MetricDefinition))
