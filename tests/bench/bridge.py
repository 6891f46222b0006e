"""The bridge as a measured program."""

import base64
import secrets
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from time import monotonic

from app.bootstrap.runtime import Runtime
from app.config.projects import DEFAULT_PROJECT
from app.config.settings import load
from app.domain.event import EventType
from app.domain.ids import RANDOM_BITS, new_id
from app.domain.job import Job, JobState
from app.domain.registration import Registration
from app.domain.signature import new_secret
from app.domain.times import to_ms
from tests.bench.harness import INTERVAL_S, Standin
from tests.bench.servers import request_of
from tests.support.claims import claim_due

CLAIM = 500
UNLIMITED = "1000000"
API_KEY = "bootstrap-key-of-the-bench"


class BridgeUnderBench:
    """The bridge with default settings, except for limits on calls, which are off, and the poll interval."""

    name = "bridge"
    pollers = 2

    def __init__(
        self, redis_url: str, cph: Standin, receiver: Standin, *, jobs_each: int = 1, requests_known: bool = False
    ) -> None:
        """jobs_each: jobs per registration. requests_known: registrations name the request of their jobs."""
        self.environment: Mapping[str, str] = {
            "BRIDGE_REDIS_URL": redis_url,
            "BRIDGE_BOOTSTRAP_KEY": API_KEY,
            "BRIDGE_SECRET_KEYS": "k1:" + base64.b64encode(secrets.token_bytes(32)).decode(),
            "BRIDGE_CPH_PROJECT_ID": "3b5e1d2a9f0c4d8e8f7a6b5c4d3e2f1a",
            "BRIDGE_CPH_ENDPOINT": cph.urls[0],
            "BRIDGE_CPH_TOKEN": "token-of-the-bench",
            "BRIDGE_CPH_RATE": UNLIMITED,
            "BRIDGE_CPH_CONCURRENCY": UNLIMITED,
            "BRIDGE_DESTINATION_CONCURRENCY": UNLIMITED,
            "BRIDGE_DESTINATION_RATE": "0",
            "BRIDGE_POLL_MIN_S": str(INTERVAL_S),
            "BRIDGE_POLL_MAX_S": str(INTERVAL_S),
            "BRIDGE_ALLOW_NETWORKS": "127.0.0.0/8",
        }
        self._runtime = Runtime(load(self.environment))
        self._destinations = receiver.urls
        self._jobs_each = jobs_each
        self._requests_known = requests_known

    def command(self, kind: str) -> Sequence[str]:
        return [sys.executable, "-m", "workers", kind]

    def watch(self, job_ids: Sequence[str]) -> None:
        for number, first in enumerate(range(0, len(job_ids), self._jobs_each)):
            destination = self._destinations[number % len(self._destinations)]
            self._register(job_ids[first : first + self._jobs_each], destination)

    def create_deliveries(self, job_ids: Sequence[str]) -> None:
        self.watch(job_ids)
        agenda, watches, clock = (
            self._runtime.stores.polls_due,
            self._runtime.stores.watches,
            self._runtime.stores.clock,
        )
        while claimed := claim_due(agenda, clock(), CLAIM):
            self._runtime.stores.scripts.run_all(
                watches.complete(item, Job(item.id, JobState.SUCCEEDED, status=2), clock()) for item in claimed
            )

    def claim(self, count: int) -> float:
        """Claims `count` items and postpones them behind all others. Returns the duration of the claim in seconds."""
        runtime = self._runtime
        now = runtime.stores.clock()
        began = monotonic()
        claimed = claim_due(runtime.stores.polls_due, now, count)
        took = monotonic() - began
        watches = runtime.stores.watches.load(claimed)
        runtime.stores.scripts.run_all(
            runtime.stores.watches.postpone(item, watch, due=now, now=now)
            for item, watch in zip(claimed, watches, strict=True)
            if watch
        )
        return took

    def _register(self, job_ids: Sequence[str], destination: str) -> None:
        now = self._runtime.stores.clock()
        registration = Registration(
            id=new_id("reg", to_ms(now), secrets.randbits(RANDOM_BITS)),
            tenant="default",  # the tenant of the key in bench/api.py
            project=DEFAULT_PROJECT,
            job_ids=tuple(job_ids),
            callback_url=f"{destination}/hooks/cph",
            destination=destination,
            secret=new_secret(secrets.token_bytes(24)),
            events=tuple(EventType),
            metadata={},
            created_at=now,
            deadline_at=now + timedelta(hours=2),
            request_id=request_of(job_ids[0]) if self._requests_known else None,
        )
        self._runtime.stores.registrations.add(registration)
