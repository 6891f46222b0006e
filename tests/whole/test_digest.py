"""200 jobs end at once, and one bot that takes twenty messages a minute is to be told of each."""

from collections import Counter
from contextlib import closing
from typing import Any

import pytest

from app.devkit.processes import wait_until
from tests.support.chat_services import SECRET, SERVICES, ChatService
from tests.whole.conftest import Whole

pytestmark = pytest.mark.slow  # processes start, and die

JOBS, REGISTRATIONS = 200, 4


def told(messages: list[Any], job_id: str) -> int:
    """How many messages name it."""
    return sum(job_id in message["markdown"]["text"] for message in messages)


def test_one_bot_is_told_of_200_jobs_in_few_messages_and_bans_nobody(workers: Whole) -> None:
    workers.start_worker("deliver")  # two share the work
    with closing(ChatService(SERVICES["dingtalk"], workers.clock)) as bot:
        jobs = [workers.job(duration_s=4) for _ in range(JOBS)]
        share = JOBS // REGISTRATIONS
        registered = [
            workers.register(
                job_ids=jobs[first : first + share], callback_url=bot.url, secret=SECRET, format="dingtalk"
            )
            for first in range(0, JOBS, share)
        ]
        wait_until(
            lambda: all(workers.look(each)["deliveries"]["delivered"] == share for each in registered),
            timeout=60,
            what="every job told",
        )
    assert (bot.refused, bot.times.bans) == ([], 0)
    assert Counter(told(bot.messages, job) for job in jobs) == {1: JOBS}
    assert len(bot.messages) <= 6
    digests = [tuple(attempt.get("digest") or ()) for attempt in everything(workers)]
    assert len(digests) == JOBS
    # Each delivery points to all that its message told of.
    assert all(count == len(digest) for digest, count in Counter(digests).items() if digest)
    assert sum(map(len, set(digests))) + digests.count(()) == JOBS


def everything(workers: Whole) -> list[dict[str, Any]]:
    """The attempts of all deliveries."""
    found, cursor = [], ""
    while cursor is not None:
        page = workers.bridge.call("GET", f"/v1/deliveries?limit=200{cursor}")
        found += [workers.bridge.call("GET", f"/v1/deliveries/{item['id']}") for item in page["items"]]
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
    return [attempt for delivery in found for attempt in delivery["attempts"]]


@pytest.mark.parametrize(
    ("point", "messages"),
    [
        pytest.param("claimed", 1, marks=pytest.mark.slow),
        ("gathered", 1),
        pytest.param("before_post", 1, marks=pytest.mark.slow),
        ("after_post", 2),
        pytest.param("recorded", 1, marks=pytest.mark.slow),
    ],
)
def test_a_worker_that_is_killed_at_any_point_of_a_digest_loses_none(whole: Whole, point: str, messages: int) -> None:
    """What may have arrived is told once more, and nothing else is."""
    doomed = whole.start_worker("deliver", BRIDGE_TEST_CRASH_AT=f"deliver.{point}")
    with closing(ChatService(SERVICES["dingtalk"], whole.clock)) as bot:
        jobs = [whole.job() for _ in range(5)]
        made = whole.register(job_ids=jobs, callback_url=bot.url, secret=SECRET, format="dingtalk", notify="both")
        whole.start_worker("poll")
        wait_until(lambda: doomed.exit_code is not None, what="the worker killed")
        wait_until(lambda: whole.look(made)["state"] == "finished", what="every job ended")
        whole.start_worker("deliver")
        wait_until(lambda: whole.look(made)["deliveries"]["delivered"] == len(jobs) + 1, what="all told")
    assert bot.refused == []
    counts = [told(bot.messages, job) for job in jobs]
    assert all(1 <= count <= messages for count in counts), counts
    if point == "after_post":
        assert max(counts) == messages
