"""Every key in Redis: name, type, life. The scripts have the same names in lua/shared/1_keys.lua."""

# Registrations: until everything about them has ended, and `retention` longer.


def registration(id: str) -> str:
    """String: JSON; sealed (secrets, callback URL, headers), deadline (ms), and what is not as usual. Its id tells
    when it was created."""
    return f"cph:{id}"


def progress(id: str) -> str:
    """Hash: tenant, project, lane; state once it is not watching; events unless they are every end of a job and no
    more; open, pending, delivered, dead (counts; 0 where missing); `job:<id>` → its end or '', where a job without id
    is `#` and perhaps a number; request: whose jobs it looks for; `permit:<delivery>` → until when (ms) an attempt may
    be under way; tested: the last verdict of its test; traceparent: as in its record, for scripts. Open: jobs
    that have not ended, and 1 until all jobs are known.
    """
    return f"cph:{id}:progress"


def ends(id: str) -> str:
    """Hash, until all have ended, for one that wants to be told of all together: job → as JSON."""
    return f"cph:{id}:ends"


def registrations(tenant: str) -> str:
    """Sorted set, all scores 0: ids, which sort by age."""
    return f"cph:regs:{tenant}"


def deadlines() -> str:
    """Sorted set: registrations that are watching, by deadline (ms)."""
    return "cph:deadlines"


# Watches: one a job, until it has ended and `retention` longer, or until nobody waits for it.


def watch(project: str, job: str) -> str:
    """Hash: state, since (ms), unknown_since (ms), what was last seen; `reg_…` of each that waits; unlisted: 1 once
    ListJobs has not shown it; operation: what it does, if a caller says so; once it has ended:
    job (JSON), observed (ms).
    """
    return f"cph:watch:{project}:{job}"


def request(project: str, id: str) -> str:
    """Hash: since (ms); `job:<id>` of each that its request may answer for: 1 once ListJobs has shown it, before that 0
    if its own answer has named the request, 2 if a caller has; `reg_…` of each that looks for all of its jobs → '',
    `seen:<ms>` or `unknown:<ms>`; again: 1 if it should be asked for anew at once; cut: if its list was, JSON of the
    page where it goes on and of the members that no page has shown; operation: as a watch has it. It ends with the last
    of them. On the agenda it is `request:<id>`."""
    return f"cph:request:{project}:{id}"


# Deliveries: until they are settled, and `retention` longer.


def delivery(id: str) -> str:
    """Hash: registration, tenant, lane (domain/destination.py), job_id ('' for all jobs of the registration), end (the
    job's state, `finished`, `test`, or what befell a destination), about (JSON), observed, created, next (ms); state,
    attempts; of these, spent before the schedule began anew, and when it began (ms); refused since; doubts: how
    many attempts, of a chat message, may have arrived although nobody said so; death: why it is dead; again: when (ms)
    the schedule begins anew. Where nobody is called, only the event: registration, end, about, observed."""
    return f"cph:dlv:{id}"


def attempts(id: str) -> str:
    """List: the attempts in order, each as JSON."""
    return f"cph:dlv:{id}:attempts"


def deliveries(tenant: str) -> str:
    """Sorted set, all scores 0: `<created, 13 digits of ms>:<id>`."""
    return f"cph:dlvs:{tenant}"


def gone(tenant: str) -> str:
    """Sorted set, until `retention` after the last of them: keyed digests of URLs by when (ms) they answered 410."""
    return f"cph:gone:{tenant}"


def destinations(tenant: str) -> str:
    """Sorted set: destinations by the time (ms) of the last registration; without those unused for long, whose lanes go
    with them."""
    return f"cph:dests:{tenant}"


def tenant_counts(tenant: str) -> str:
    """Hash, for ever: registrations that are watching, deliveries that are pending."""
    return f"cph:tenant:{tenant}"


def taken(tenant: str, window: str) -> str:
    """String, two minutes: how many requests were made in that minute, or may still be by those who have taken them."""
    return f"cph:taken:{tenant}:{window}"


def feed(tenant: str) -> str:
    """Stream, until `retention` after the last of them: events as they came to be; d: the delivery, without `dlv_`."""
    return f"cph:events:{tenant}"


# Agendas: for ever; they shrink to nothing when nothing is due.


def lanes(agenda: str) -> str:
    """Sorted set: lanes by the time (ms) at which the next look is worth it."""
    return f"cph:{agenda}:lanes"


def due(agenda: str, lane: str) -> str:
    """Sorted set: ids by class, then by the time (ms) at which they are due; lua/shared/2_agenda.lua says how."""
    return f"cph:{agenda}:due:{lane}"


def leased(agenda: str, lane: str) -> str:
    """Sorted set: ids that are being worked on, by the end (ms) of the lease, which is also its fence."""
    return f"cph:{agenda}:leased:{lane}"


def lane(agenda: str, lane: str) -> str:
    """Hash: not_before (ms); tokens, stamp (ms) of the bucket; learned, learned_at (ms) from being throttled;
    passed: how often in a row what has a patience has been passed by what has none; while the other side refuses us:
    refusals (in a row), refused_since, refused_at (ms, the last); rate, places where they are the lane's own; most: the
    most places it may have, where that is its own.
    Of a destination also: held (ms, since when nothing is handed out), held_why (`paused` or `disabled`); failures
    (in a row), failing_since, answered, failed (ms), failure (words, of the last); halved_at (ms, its places), run (of
    answers since they were changed); redelivery: behind those of many redelivered at once (ms)."""
    return f"cph:{agenda}:lane:{lane}"


def counts() -> str:
    """Hash, for ever: `watch:<state>`, `delivery:pending`: how many there are; `ended:<state>:<project>`: how many
    watched jobs have; of the dispatcher: looked (ms), looks; overdue: how many registrations ended by their deadline.
    """
    return "cph:counts"


def dead() -> str:
    """Sorted set: deliveries that are dead, by when (ms) they are forgotten."""
    return "cph:dead"


def lanes_that_are(state: str) -> str:
    """Set: lanes of destinations that are failing, paused or disabled; one may be failing and held."""
    return f"cph:lanes:{state}"


def wake(agenda: str) -> str:
    """List of at most one mark: the dispatcher should look now."""
    return f"cph:wake:{agenda}"


# The rest.


def idempotency(tenant: str, digest: str) -> str:
    """String, 24 h: sealed; digest of the request, then the answer. As long as a lease while there is none yet."""
    return f"cph:idem:{tenant}:{digest}"


def handshake(tenant: str, digest: str) -> str:
    """String, a day: a receiver of CloudEvents allows them; by the keyed digest of its URL."""
    return f"cph:handshake:{tenant}:{digest}"


def api_key(id: str) -> str:
    """Hash, until it expires: tenant, scopes, digest (SHA-256 of the key), created, expires, used (ms; used: to the
    minute), name."""
    return f"cph:key:{id}"


def api_keys(tenant: str) -> str:
    """Sorted set, all scores 0: ids of its keys."""
    return f"cph:keys:{tenant}"


def project(name: str) -> str:
    """Hash, for ever: what poll workers saw; answered, failed, expires (ms), failure, ahead_ms."""
    return f"cph:project:{name}"


def durations(project: str, operation: str) -> str:
    """Hash, for `retention` after the last: bucket (domain/cadence.py) → how many jobs took so long. Of all jobs of the
    project if `operation` is ''."""
    return f"cph:durations:{project}:{operation}"


def token(project: str) -> str:
    """String, as long as the token lives: IAM's token, sealed, behind a digest of whose it is."""
    return f"cph:token:{project}"


def held() -> str:
    """String, empty: written behind what replicas must hold before it is acknowledged."""
    return "cph:held"


def fit() -> str:
    """Never there: fit.lua tries whether it might delete it."""
    return "cph:fit"


def lock(name: str) -> str:
    """String, seconds: who holds it."""
    return f"cph:lock:{name}"


# RQ's own, which it reads and writes itself (workers/rq_queues.py), and we only read; a test holds these to its names.


def rq_queue(kind: str) -> str:
    """List: RQ jobs that wait."""
    return f"rq:queue:cph-{kind}"


def rq_workers(kind: str) -> str:
    """Set: keys of the workers of a queue; those of the dead stay for a while, but are keys of nothing."""
    return f"rq:workers:cph-{kind}"
