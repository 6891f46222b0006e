"""Every key in Redis: name, type, life. The scripts have the same names in lua/shared/1_keys.lua."""

# Registrations: until everything about them has ended, and `retention` longer.


def registration(id: str) -> str:
    """String: the record as JSON; callback URL and secret sealed."""
    return f"cph:reg:{id}"


def progress(id: str) -> str:
    """Hash: tenant, project, lane, events, state; open, pending, delivered, dead (counts); `job:<id>` → its end or '';
    `permit:<delivery>` → until when (ms) an attempt may be under way."""
    return f"cph:reg:{id}:progress"


def registrations(tenant: str) -> str:
    """Sorted set, all scores 0: ids, which sort by age."""
    return f"cph:regs:{tenant}"


def deadlines() -> str:
    """Sorted set: registrations that are watching, by deadline (ms)."""
    return "cph:deadlines"


# Watches: one a job, until it has ended and `retention` longer, or until nobody waits for it.


def watch(project: str, job: str) -> str:
    """Hash: state, since (ms), asks (count), unknown_since (ms), what was last seen; `reg_…` of each that waits;
    unlisted: 1 once ListJobs has not shown it; once it has ended: job (JSON), observed (ms)."""
    return f"cph:watch:{project}:{job}"


def request(project: str, id: str) -> str:
    """Hash: since (ms); `job:<id>` of each that its request may answer for: 1 once ListJobs has shown it, else 0.
    It ends with the last of them. On the agenda it is `request:<id>`."""
    return f"cph:request:{project}:{id}"


# Deliveries: until they are settled, and `retention` longer.


def delivery(id: str) -> str:
    """Hash: registration, tenant, lane, job_id, job_state, job (JSON), observed, created, next (ms); state, attempts"""
    return f"cph:dlv:{id}"


def attempts(id: str) -> str:
    """List: the attempts in order, each as JSON."""
    return f"cph:dlv:{id}:attempts"


def deliveries(tenant: str) -> str:
    """Sorted set, all scores 0: `<created, 13 digits of ms>:<id>`."""
    return f"cph:dlvs:{tenant}"


# Agendas: for ever; they shrink to nothing when nothing is due.


def lanes(agenda: str) -> str:
    """Sorted set: lanes by the time (ms) at which the next look is worth it."""
    return f"cph:{agenda}:lanes"


def due(agenda: str, lane: str) -> str:
    """Sorted set: ids by the time (ms) at which they are due."""
    return f"cph:{agenda}:due:{lane}"


def leased(agenda: str, lane: str) -> str:
    """Sorted set: ids that are being worked on, by the end (ms) of the lease, which is also its fence."""
    return f"cph:{agenda}:leased:{lane}"


def lane(agenda: str, lane: str) -> str:
    """Hash: not_before (ms); tokens, stamp (ms) of the bucket; learned, learned_at (ms) from being throttled;
    rate, places where they are the lane's own."""
    return f"cph:{agenda}:lane:{lane}"


def wake(agenda: str) -> str:
    """List of at most one mark: the dispatcher should look now."""
    return f"cph:wake:{agenda}"


# The rest.


def idempotency(tenant: str, digest: str) -> str:
    """String, 24 h: digest of the body, then the sealed answer."""
    return f"cph:idem:{tenant}:{digest}"


def api_key(id: str) -> str:
    """Hash, until it expires: tenant, scopes, digest (SHA-256 of the key), created (ms)."""
    return f"cph:key:{id}"


def project(name: str) -> str:
    """Hash, for ever: what poll workers saw; answered, failed, expires (ms), failure, refused, ahead_ms."""
    return f"cph:project:{name}"


def token(project: str) -> str:
    """String, as long as the token lives: IAM's token, sealed."""
    return f"cph:token:{project}"


def lock(name: str) -> str:
    """String, seconds: who holds it."""
    return f"cph:lock:{name}"
