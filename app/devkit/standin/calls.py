"""What was asked, counted: how a test sees from outside how often the bridge called."""

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
        self._in_hand = 0
        self._most_at_once = 0

    @contextmanager
    def one(self, api: ApiName, job_id: str | None = None) -> Iterator[None]:
        with self._lock:
            self._by_api[api] += 1
            if job_id:
                self._by_job[job_id] += 1
            self._in_hand += 1
            self._most_at_once = max(self._most_at_once, self._in_hand)
        try:
            yield
        finally:
            with self._lock:
                self._in_hand -= 1

    def showed(self, job_ids: Iterable[str]) -> None:
        """In a list: for each of them as good as a call of its own."""
        with self._lock:
            self._by_job.update(job_ids)

    def as_dict(self) -> dict[str, Any]:
        with self._lock:
            return {**self._by_api, "by_job": dict(self._by_job), "most_at_once": self._most_at_once}
