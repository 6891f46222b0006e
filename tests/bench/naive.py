"""The baseline: a simple program with an RQ job for each poll and each callback, on standard RQ workers."""

import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import cycle

import requests
from redis import Redis
from rq import Queue, get_current_job

from tests.bench.harness import INTERVAL_S, Standin

RUNNING = 1
TIMEOUT_S = 10


def poll(cph: str, job_id: str, callback_url: str) -> None:
    answer = requests.get(f"{cph}/jobs/{job_id}", headers={"X-Auth-Token": "token"}, timeout=TIMEOUT_S)
    answer.raise_for_status()
    job = answer.json()
    if job["status"] == RUNNING:
        _queue().enqueue_in(timedelta(seconds=INTERVAL_S), poll, cph, job_id, callback_url)
    else:
        _queue().enqueue(notify, callback_url, job)


def notify(callback_url: str, job: dict[str, object]) -> None:
    headers = {"webhook-id": str(job["job_id"])}
    requests.post(callback_url, json=job, headers=headers, timeout=TIMEOUT_S).raise_for_status()


def _queue() -> Queue:
    """The queue of the current RQ job."""
    job = get_current_job()
    assert job
    return Queue(connection=job.connection)


class Naive:
    """The baseline, without needless cost: no forks, no log lines, long-lived workers."""

    name = "naive"
    pollers = 2
    environment: Mapping[str, str] = {}

    def __init__(self, redis_url: str, cph: Standin, receiver: Standin) -> None:
        self._redis_url = redis_url
        self._queue = Queue(connection=Redis.from_url(redis_url))
        self._cph = cph.urls[0]
        self._callback_urls = cycle(receiver.urls)

    def command(self, kind: str) -> Sequence[str]:
        """The same command for both kinds: they share a queue."""
        options = ["--worker-class", "rq.SimpleWorker", "--with-scheduler", "--logging_level", "WARNING"]
        return [sys.executable, "-m", "rq.cli", "worker", "--url", self._redis_url, *options]

    def watch(self, job_ids: Sequence[str]) -> None:
        for job_id in job_ids:
            self._queue.enqueue(poll, self._cph, job_id, next(self._callback_urls))

    def create_deliveries(self, job_ids: Sequence[str]) -> None:
        for job_id in job_ids:
            self._queue.enqueue(notify, next(self._callback_urls), {"job_id": job_id, "status": 2})
