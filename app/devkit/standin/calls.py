"""Counts calls, so that a test can check how often the bridge called."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, Literal, get_args

ApiName = Literal["show_job", "list_jobs", "submit", "iam_tokens", "host_keys", "pod_keys"]
CPH: frozenset[ApiName] = frozenset({"show_job", "list_jobs", "submit"})


class Calls:
    def __init__(self) -> None:
        self._lock = Lock()
        self._by_api: Counter[str] = Counter(dict.fromkeys(get_args(ApiName), 0))
        self._by_job: Counter[str] = Counter()
        self._in_progress = 0
        self._max_concurrent = 0

    @contextmanager
    def count(self, api: ApiName, job_id: str | None = None) -> Iterator[None]:
        with self._lock:
            self._by_api[api] += 1
            if job_id:
                self._by_job[job_id] += 1
            self._in_progress += 1
            self._max_concurrent = max(self._max_concurrent, self._in_progress)
        try:
            yield
        finally:
            with self._lock:
                self._in_progress -= 1

    def count_listed(self, job_ids: Iterable[str]) -> None:
        """Counts a list as one call for each job that it shows."""
        with self._lock:
            self._by_job.update(job_ids)

    def as_dict(self) -> dict[str, Any]:
        with self._lock:
            return {**self._by_api, "by_job": dict(self._by_job), "most_at_once": self._max_concurrent}
