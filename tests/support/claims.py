"""Claims due items outside a drain."""

from datetime import datetime

from app.store.agenda import Agenda, Claimed


def claim_due(agenda: Agenda, now: datetime, limit: int) -> tuple[Claimed, ...]:
    """Claims in a round trip of its own. A drain claims in the same round trip as it records results."""
    return agenda.claimed(agenda._scripts.run(agenda.claim(now, limit)))
