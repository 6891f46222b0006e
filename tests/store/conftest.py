"""Makers of what the store keeps."""

import itertools
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from app.domain.event import EventType
from app.domain.ids import new_id
from app.domain.registration import Registration
from app.domain.times import to_ms
from app.runtime import Runtime

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def registration(now: datetime) -> Callable[..., Registration]:
    """A registration of tenant `t`, for job `job-1` unless told otherwise."""
    numbers = itertools.count()

    def make(*job_ids: str, at: datetime = now, **fields: Any) -> Registration:
        return Registration(
            **{
                "id": new_id("reg", to_ms(at), next(numbers)),
                "tenant": "t",
                "project": "default",
                "job_ids": job_ids or ("job-1",),
                "callback_url": "https://bot.example/hooks/secret-path",
                "destination": "https://bot.example:443",
                "secret": SECRET,
                "events": tuple(EventType),
                "metadata": {"room": "ops"},
                "created_at": at,
                "deadline_at": at + timedelta(hours=2),
                **fields,
            }
        )

    return make


@pytest.fixture
def deliveries_of(runtime: Runtime) -> Callable[..., list[Any]]:
    """The deliveries of tenant `t`, newest first."""

    def find() -> list[Any]:
        found, _ = runtime.deliveries.page("t", limit=200, cursor=None, since=None, until=None, wanted=lambda _: True)
        return found

    return find
