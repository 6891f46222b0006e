"""Jobs that end while the API runs in this process, and the events that its feed then contains."""

from typing import Any

from app.devkit.processes import wait_until
from app.domain.job import Job, JobState
from app.store.agenda import Claimed
from tests.support.api_client import ApiCaller
from tests.support.claims import claim_due


def end_jobs(api: ApiCaller, *job_ids: str) -> None:
    """Completes these jobs as succeeded, as a poll worker does."""
    runtime = api.runtime
    claimed: list[Claimed] = []
    wait_until(
        lambda: claimed.extend(claim_due(runtime.stores.polls_due, runtime.stores.clock(), 100)) or claimed,
        what="polls",
    )
    runtime.stores.scripts.run_all(
        runtime.stores.watches.complete(item, Job(item.id, JobState.SUCCEEDED, status=2), runtime.stores.clock())
        for item in claimed
        if item.id in job_ids
    )


def event_pages(api: ApiCaller, after: str = "", limit: int = 50) -> list[list[dict[str, Any]]]:
    """Reads pages of events until one is empty."""
    found = []
    while True:
        page = api.get(f"/v1/events?limit={limit}{after and '&after=' + after}")
        after = page["next_cursor"]
        if not page["items"]:
            return found
        found.append(page["items"])


def reported_jobs(api: ApiCaller, **details: Any) -> list[str]:
    """The job ids of all events, in order. details: arguments of `event_pages`."""
    return [event["data"]["job"]["job_id"] for page in event_pages(api, **details) for event in page]
