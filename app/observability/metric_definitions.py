"""Defines all metrics; docs/metrics.md is generated from here."""

from dataclasses import dataclass
from enum import StrEnum

PREFIX = "cph_bridge_"


class MetricKind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class MetricSource(StrEnum):
    """Where a metric comes from, and so what it describes: a process or the deployment."""

    API = "counted by the API"
    POLL = "counted by each poll worker"
    DELIVER = "counted by each deliver worker"
    ALL = "counted by the API and each worker"
    REDIS = "read from Redis"


@dataclass(frozen=True, slots=True)
class MetricDefinition:
    """labels: each has few values, and callers choose none of them. by_tenant: has the label `tenant` if the operator
    enables it. buckets: upper bounds of a histogram.
    """

    name: str
    kind: MetricKind
    source: MetricSource
    description: str
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
    "Time to answer a request, including the wait of `wait_s`. `route` is the URL pattern, `none` if no route matches.",
    ("method", "route", "status"),
    buckets=REQUEST_BUCKETS,
)
REGISTRATIONS = MetricDefinition(
    "registrations_total",
    MetricKind.COUNTER,
    MetricSource.API,
    "Accepted registrations.",
    ("project",),
    by_tenant=True,
)

POLLS = MetricDefinition(
    "polls_total",
    MetricKind.COUNTER,
    MetricSource.POLL,
    "Calls to CPH (`show_job`; `list_jobs`, each page) by outcome: `answered`, `unknown` (CPH does not know the job or"
    " request), `throttled`, `refused` (bad credentials), `forbidden` (no right to list), `unreadable` (a"
    " response that cannot be read, or not all of a list), `unanswered` (all else).",
    ("project", "call", "outcome"),
)
CALLS_SAVED = MetricDefinition(
    "calls_saved_total",
    MetricKind.COUNTER,
    MetricSource.POLL,
    "Calls to CPH saved by listing jobs: watched jobs that lists reported, minus pages fetched.",
    ("project",),
)
UNKNOWN_STATUSES = MetricDefinition(
    "unknown_statuses_total",
    MetricKind.COUNTER,
    MetricSource.POLL,
    "Answers with a job status that this version does not know; the job stays watched.",
    ("project",),
)

ATTEMPTS = MetricDefinition(
    "attempts_total",
    MetricKind.COUNTER,
    MetricSource.DELIVER,
    "Attempts by format (`template` for all templates) and verdict: `delivered`, `retry`, `gone`, `refused`.",
    ("format", "verdict"),
    by_tenant=True,
)
ATTEMPT_DURATION = MetricDefinition(
    "attempt_duration_seconds",
    MetricKind.HISTOGRAM,
    MetricSource.DELIVER,
    "Duration of an attempt: DNS lookup, connecting, TLS, sending, and reading the answer.",
    buckets=ATTEMPT_BUCKETS,
)
DELIVERED_AFTER = MetricDefinition(
    "delivered_after_seconds",
    MetricKind.HISTOGRAM,
    MetricSource.DELIVER,
    "Time from a job's end to the arrival of its callback, for each event. The end is CPH's `end_time`, or else when"
    " the bridge saw it; a later registration counts instead. Excludes test callbacks and operator notifications.",
    buckets=ARRIVAL_BUCKETS,
)
DEATHS = MetricDefinition(
    "deaths_total",
    MetricKind.COUNTER,
    MetricSource.DELIVER,
    "Deliveries that workers gave up, by reason.",
    ("reason",),
    by_tenant=True,
)

LOG_LINES_DROPPED = MetricDefinition(
    "log_lines_dropped_total",
    MetricKind.COUNTER,
    MetricSource.ALL,
    "Log lines dropped because nobody read stderr, or because it could not be written.",
)

REDIS_UP = MetricDefinition(
    "redis_up",
    MetricKind.GAUGE,
    MetricSource.REDIS,
    "1 if Redis can be read and meets the requirements; at 0 all other metrics read from Redis are missing.",
)
REDIS_MEMORY = MetricDefinition(
    "redis_memory_used_bytes", MetricKind.GAUGE, MetricSource.REDIS, "Memory used by Redis."
)
REDIS_MEMORY_MAX = MetricDefinition(
    "redis_memory_max_bytes",
    MetricKind.GAUGE,
    MetricSource.REDIS,
    "`maxmemory` of Redis, which should be set; 0 if it is not.",
)
CLOCK_AHEAD = MetricDefinition(
    "clock_ahead_seconds",
    MetricKind.GAUGE,
    MetricSource.REDIS,
    "How far a wrong clock is ahead, negative if behind: `redis` while the bridge corrects Redis' clock, or the host"
    " name of a machine that is off by more than 5 s. Missing while all are right.",
    ("clock",),
)
WATCHING = MetricDefinition(
    "registrations_watching", MetricKind.GAUGE, MetricSource.REDIS, "Registrations that have not finished."
)
WATCHES = MetricDefinition(
    "watches",
    MetricKind.GAUGE,
    MetricSource.REDIS,
    "Watched jobs: `pending` (not yet shown by CPH), `running`.",
    ("state",),
)
JOBS_ENDED = MetricDefinition(
    "jobs_ended_total",
    MetricKind.COUNTER,
    MetricSource.REDIS,
    "Watched jobs that have ended, each counted once: `succeeded`, `failed`, `lost`. Restarts do not reset it.",
    ("project", "state"),
)
DELIVERIES = MetricDefinition(
    "deliveries",
    MetricKind.GAUGE,
    MetricSource.REDIS,
    "Deliveries: `pending`, `held` (on hold; of up to 400 destinations), `dead` (until they expire).",
    ("state",),
)
DESTINATIONS = MetricDefinition(
    "destinations",
    MetricKind.GAUGE,
    MetricSource.REDIS,
    "Destinations of all tenants: `failing` (breaker open), `paused`, `disabled`. Failing ones may be on hold too.",
    ("state",),
)
ON_HOLD_LONGEST = MetricDefinition(
    "destination_on_hold_longest_seconds",
    MetricKind.GAUGE,
    MetricSource.REDIS,
    "For how long a destination that keeps deliveries back has been paused or disabled, the longest of up to 400; 0 if"
    " there is none.",
)
FAILING_LONGEST = MetricDefinition(
    "destination_failing_longest_seconds",
    MetricKind.GAUGE,
    MetricSource.REDIS,
    "Time since the first of the failures in a row of a failing destination that deliveries wait for, the longest of up"
    " to 200; 0 if there is none.",
)
DUE = MetricDefinition(
    "due",
    MetricKind.GAUGE,
    MetricSource.REDIS,
    "Due items that no worker has claimed (`poll`, `deliver`), without those paused, on hold or behind a breaker. Each"
    " destination beyond 200 counts as one item. Scale workers by this.",
    ("agenda",),
)
POLLS_LATE = MetricDefinition(
    "polls_late_seconds",
    MetricKind.GAUGE,
    MetricSource.REDIS,
    "How long the oldest due poll has waited; 0 while the project is paused or refused.",
    ("project",),
)
DELIVERIES_LATE = MetricDefinition(
    "deliveries_late_seconds",
    MetricKind.GAUGE,
    MetricSource.REDIS,
    "How long the oldest delivery has waited that a worker could have claimed; excludes what its destination holds up.",
)
RATE = MetricDefinition(
    "project_rate",
    MetricKind.GAUGE,
    MetricSource.REDIS,
    "Calls per second that the project may make now.",
    ("project",),
)
THROTTLED = MetricDefinition(
    "project_throttled",
    MetricKind.GAUGE,
    MetricSource.REDIS,
    "1 while the project's rate is below the configured one because CPH throttles.",
    ("project",),
)
CALLS_LEFT = MetricDefinition(
    "project_calls_left",
    MetricKind.GAUGE,
    MetricSource.REDIS,
    "Calls that the project can make at once.",
    ("project",),
)
REFUSED = MetricDefinition(
    "project_refused",
    MetricKind.GAUGE,
    MetricSource.REDIS,
    "1 while CPH or IAM refuses the bridge: an operator must act.",
    ("project",),
)
CREDENTIALS_LEFT = MetricDefinition(
    "project_credentials_left_seconds",
    MetricKind.GAUGE,
    MetricSource.REDIS,
    "Remaining lifetime of the credentials in use; missing if they do not expire. Tokens are renewed before that.",
    ("project",),
)
QUEUED = MetricDefinition(
    "rq_jobs", MetricKind.GAUGE, MetricSource.REDIS, "Wake-ups in RQ's queue: usually 0 or 1.", ("kind",)
)
WORKERS = MetricDefinition(
    "workers",
    MetricKind.GAUGE,
    MetricSource.REDIS,
    "Workers registered with RQ, which drops a killed one after some minutes.",
    ("kind",),
)
TICK_AGE = MetricDefinition(
    "dispatcher_tick_age_seconds",
    MetricKind.GAUGE,
    MetricSource.REDIS,
    "Time since the dispatcher's last tick, which it records about once a second.",
)
TICKS = MetricDefinition(
    "dispatcher_ticks_total",
    MetricKind.COUNTER,
    MetricSource.REDIS,
    "Ticks of the dispatcher, all workers together: at least two per second.",
)
OVERDUE = MetricDefinition(
    "registrations_overdue_total",
    MetricKind.COUNTER,
    MetricSource.REDIS,
    "Registrations whose deadline passed before they finished.",
)
UNREADABLE = MetricDefinition(
    "unreadable_records",
    MetricKind.GAUGE,
    MetricSource.REDIS,
    "Records in Redis that could not be read within the last day: `cph-bridge doctor` lists them.",
)
DATA_LOST = MetricDefinition(
    "redis_data_lost_timestamp_seconds",
    MetricKind.GAUGE,
    MetricSource.REDIS,
    "When a dispatcher found Redis without the data that it had known; missing if it never did.",
)

ALL = tuple(definition for definition in list(globals().values()) if isinstance(definition, MetricDefinition))
