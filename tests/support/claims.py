from datetime import datetime

from app.store.agenda import Agenda, Claimed


def claim_due(agenda: Agenda, now: datetime, limit: int) -> tuple[Claimed, ...]:
    """At once; drains claim together with recording what they have done."""
    return agenda.claimed(agenda._scripts.run(agenda.claim(now, limit)))
