"""Every key in Redis: name, type, lifetime. Scripts use the same functions as `key.<name>` (scripts.py).

Names of keys and fields stay when a word of the code changes: versions of a rolling upgrade share them.
"""

PREFIX = "cph:"  # of all our keys

# Keys expire by Redis' clock, which may leap: what must not go early lives longer by LEAP_MARGIN (domain/times.py), and
# `retention` includes it.

# Registrations: until they have ended and their deliveries are settled, and `retention` longer.


def registration(id: str) -> str:
    """String: JSON; sealed (encrypted secrets, callback URL, headers, metadata), deadline (ms), and fields that differ
    from their default, some encrypted (encryption/sealed_values.py). The id contains the time of creation."""
    return f"cph:{id}"


def progress(id: str) -> str:
    """Hash: tenant, project, lane; state unless it is watching; events unless the default (every end of a job); open,
    pending, delivered, dead (counts; 0 if missing); `job:<id>` → its end or '' (a job without id is `#`, or `#` and a
    number); request: for all of whose jobs it waits; `permit:<delivery>` → until when (ms) an attempt may be in
    progress; asked (ms): when CPH was asked for the last time, after the deadline;
    awaits: an item of the agenda whose poll this awaits, '' once it awaits none; tested: last verdict of its test;
    traceparent: copy for scripts. open: jobs that have not ended, plus 1 until all jobs are known.
    """
    return f"cph:{id}:progress"


def ends(id: str) -> str:
    """Hash, until all jobs have ended, if it subscribes to their summary: job → JSON."""
    return f"cph:{id}:ends"


def registrations(tenant: str) -> str:
    """Sorted set, all scores 0: ids of registrations, which sort by age."""
    return f"cph:regs:{tenant}"


def deadlines() -> str:
    """Sorted set: watching registrations by deadline (ms)."""
    return "cph:deadlines"


# Watches: one per job, until it has ended and `retention` longer, or until no registration waits for it.


def watch(project: str, job: str) -> str:
    """Hash: state, since (ms), unknown_since (ms), the fields last seen; tenants: of its registrations, separated by
    spaces; `reg_…` of each waiting registration; `by:<tenant>`: how many of them are its own;
    answered (ms): the last answer of CPH; failing: reason and error code of the last poll, unless it was answered;
    unlisted: when ListJobs did not show it (ms; 1 from older versions); operation: of the job, if a caller named it;
    once it has ended: job (JSON; its output is encrypted), observed (ms).
    """
    return f"cph:watch:{project}:{job}"


def request(project: str, id: str) -> str:
    """Hash, until it has no job and no registration: since (ms); `job:<id>` of each job that ListJobs may show → 1 once
    it has, before that 0 if the job's own answer named the request, 2 if a caller did; `reg_…` of each registration
    that waits for all of its jobs → '', `seen:<ms>` or `unknown:<ms>`; again: 1 if it is to be polled again at once;
    cut: if its list was cut off, JSON of the next page and of the members not shown yet; tenants, `by:<tenant>`,
    operation, answered, failing: as in a watch. On the agenda it is `request:<id>`."""
    return f"cph:request:{project}:{id}"


# Deliveries: until they are settled, and `retention` longer.


def delivery(id: str) -> str:
    """Hash: registration, tenant, lane (domain/destination.py), job_id ('' for all jobs of the registration), end (the
    job's state, `finished`, `test`, or `destination.…`), about (JSON; a job's output is encrypted), observed, created,
    next (ms); state; attempts (count); spent: attempts before the current retry schedule; began (ms): its start;
    refused: refusals since then; doubts: attempts of a chat message that may have been delivered without confirmation;
    death: why it is dead; again (ms): start of a new schedule. Without a callback only the event: registration, end,
    about, observed."""
    return f"cph:dlv:{id}"


def attempts(id: str) -> str:
    """List: attempts in order, each JSON; what the receiver answered is encrypted."""
    return f"cph:dlv:{id}:attempts"


def deliveries(tenant: str) -> str:
    """Sorted set, all scores 0: `<created, 13 digits of ms>:<id>`."""
    return f"cph:dlvs:{tenant}"


def gone(tenant: str) -> str:
    """Sorted set, until `retention` after the last entry: keyed digests of URLs by when (ms) they answered 410."""
    return f"cph:gone:{tenant}"


def destinations(tenant: str) -> str:
    """Sorted set: destinations by the time (ms) of the last registration. Those unused for long are deleted with their
    lanes."""
    return f"cph:dests:{tenant}"


def tenant_counts(tenant: str) -> str:
    """Hash, for ever: counts of watching registrations, of their jobs that have not ended, of pending deliveries."""
    return f"cph:tenant:{tenant}"


def taken(tenant: str, window: str) -> str:
    """String, two minutes: requests of that minute which processes have taken from the quota, used or not."""
    return f"cph:taken:{tenant}:{window}"


def feed(tenant: str) -> str:
    """Stream, until `retention` after the last entry: events in order of creation; d: the delivery, without `dlv_`."""
    return f"cph:events:{tenant}"


# Agendas: for ever, but empty when nothing is due.


def lanes(agenda: str) -> str:
    """Sorted set: lanes by the time (ms) at which to serve them next."""
    return f"cph:{agenda}:lanes"


def due(agenda: str, lane: str) -> str:
    """Sorted set: ids by class, then by due time (ms); see lua/shared/2_agenda.lua."""
    return f"cph:{agenda}:due:{lane}"


def turns(lane: str) -> str:
    """Sorted set: the tenants with polls in a project's lane by when (ms) each was served last."""
    return f"cph:poll:turns:{lane}"


def tenant_due(lane: str, tenant: str) -> str:
    """Sorted set: those of a project's due ids for which the tenant waits, with the same scores. Ids that are not due
    in the lane any more are ignored."""
    return f"cph:poll:own:{lane}:{tenant}"


def leased(agenda: str, lane: str) -> str:
    """Sorted set: leased ids by the end (ms) of the lease, which is also its fence."""
    return f"cph:{agenda}:leased:{lane}"


def lane(agenda: str, lane: str) -> str:
    """Hash: not_before (ms): end of the pause; tokens, stamp (ms) of the token bucket; learned (rate), learned_at (ms),
    after throttling; passed: how many items without patience in a row went before the others; refused_calls: in a row,
    each of which may concern one call only; while the breaker is
    open: refusals (in a row), refused_since, refused_at (ms, the last); if the lane has its own: rate, places
    (concurrency), most (maximum concurrency).
    Of a destination also: held (ms): on hold since, held_why (`paused` or `disabled`); failures (in a row),
    failing_since, answered, failed (ms), failure (encrypted text of the last); halved_at (ms): last cut of its
    concurrency, run (answers since its last change); redelivery (ms): the next free due time for bulk redelivery."""
    return f"cph:{agenda}:lane:{lane}"


def counts() -> str:
    """Hash, for ever: numbers of `watch:<state>` and `delivery:pending`; `ended:<state>:<project>`: watched jobs that
    have ended; of the dispatcher: looked (ms): last tick, looks: ticks; overdue: registrations ended by their deadline.
    """
    return "cph:counts"


def count_changes() -> str:
    """Hash, for ever: by how much counts have changed, up or down; of the deployment: '', of a tenant: its name. So the
    reconciler knows which difference cannot be due to changes while it was counting."""
    return "cph:counts:changes"


def dead() -> str:
    """Sorted set: dead deliveries by when (ms) they expire."""
    return "cph:dead"


def lanes_in_state(state: str) -> str:
    """Set: lanes of destinations that are failing, paused or disabled; a lane may be failing and one of the others."""
    return f"cph:lanes:{state}"


def wake(agenda: str) -> str:
    """List of at most one entry, which wakes the dispatcher."""
    return f"cph:wake:{agenda}"


# The rest.


def idempotency(tenant: str, digest: str) -> str:
    """String, 24 h and LEAP_MARGIN; while the request is in progress, the length of a lease: encrypted digest of the
    request, then the response."""
    return f"cph:idem:{tenant}:{digest}"


def handshake(tenant: str, digest: str) -> str:
    """String, a day: the CloudEvents receiver at the URL with this keyed digest allows requests."""
    return f"cph:handshake:{tenant}:{digest}"


def api_key(id: str) -> str:
    """Hash, until LEAP_MARGIN after the key expires: tenant, scopes, digest (SHA-256 of the key), created, expires,
    used (ms; used: to the minute), name."""
    return f"cph:key:{id}"


def api_keys(tenant: str) -> str:
    """Sorted set: ids of API keys by when (ms) they expire; 0: never, or not recorded by an older version."""
    return f"cph:keys:{tenant}"


def project(name: str) -> str:
    """Hash, for ever: health reported by poll workers: answered, failed, expires (ms), failure, ahead_ms;
    of the last failure advice (to an operator), failing (as in a watch)."""
    return f"cph:project:{name}"


def durations(project: str, operation: str) -> str:
    """Hash, until `retention` after the last job: bucket (domain/cadence.py) → number of jobs. operation: '' for all
    jobs of the project."""
    return f"cph:durations:{project}:{operation}"


def token(project: str) -> str:
    """String, for the lifetime of the token: encrypted; digest of its owner, then the IAM token."""
    return f"cph:token:{project}"


def clock() -> str:
    """Hash, while Redis' clock is wrong because it has leapt: correction: how far (ms) the deployment's time is ahead
    of it; since (ms)."""
    return "cph:clock"


def clock_leaps() -> str:
    """Hash, for 15 s: process → leap of Redis' clock (ms) that it has seen; 0 for none."""
    return "cph:clock:leaps"


def data() -> str:
    """Hash, for ever: id (random) of what this Redis contains, since (ms); lost (ms): a process had known others."""
    return "cph:data"


def wrong_clocks() -> str:
    """Hash: machine whose own clock is wrong → how far it is ahead (ms), when it was reported (ms)."""
    return "cph:clock:wrong"


def unreadable() -> str:
    """Sorted set of at most 1,000, each for a day: what could not be read (a key, a key and a field, an id) by when
    (ms)."""
    return "cph:unreadable"


def aside(name: str) -> str:
    """Any type, 14 days: a key of a wrong type, moved here so that it costs nobody else (lua/shared/0_guard.lua)."""
    return f"cph:aside:{name}"


def held() -> str:
    """String, empty: written so that WAIT covers what the same connection has read (replicas.py)."""
    return "cph:held"


def fit() -> str:
    """Never exists: check_rights.lua tests whether it may delete it."""
    return "cph:fit"


def rq_fit() -> str:
    """Never exists, as above: tests the rights to RQ's keys."""
    return "rq:cph-fit"


def rq_fit_channel() -> str:
    """Nobody subscribes to it: check_rights.lua tests whether it may publish there."""
    return "rq:cph-fit"


def lock(name: str) -> str:
    """String, for seconds: token of the lock's holder."""
    return f"cph:lock:{name}"


# Keys of RQ (workers/rq_queues.py), which only RQ writes; we delete a queue of a wrong type. A test compares them with
# RQ's own names.


def rq_queue(kind: str) -> str:
    """List: queued RQ jobs."""
    return f"rq:queue:cph-{kind}"


def rq_workers(kind: str) -> str:
    """Set: keys of a queue's workers. A dead worker's entry stays for a while after its key has expired."""
    return f"rq:workers:cph-{kind}"
