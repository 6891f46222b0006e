"""200 jobs end at once. A bot that accepts twenty messages a minute is notified of each."""

from collections import Counter
from contextlib import closing
from typing import Any

import pytest

from app.devkit.processes import wait_until
from tests.support.chat_services import SECRET, SERVICES, ChatService
from tests.whole.conftest import Deployment

pytestmark = pytest.mark.slow  # starts and kills processes

JOBS, REGISTRATIONS = 200, 4


def messages_about(messages: list[Any], job_id: str) -> int:
    """How many messages contain the job id."""
    return sum(job_id in message["markdown"]["text"] for message in messages)


def test_one_bot_is_notified_of_200_jobs_in_few_messages_and_bans_nobody(running_deployment: Deployment) -> None:
    running_deployment.start_worker("deliver")  # a second deliver worker
    with closing(ChatService(SERVICES["dingtalk"], running_deployment.clock)) as bot:
        jobs = [running_deployment.job(duration_s=4) for _ in range(JOBS)]
        jobs_each = JOBS // REGISTRATIONS
        registered = [
            running_deployment.register(
                job_ids=jobs[first : first + jobs_each], callback_url=bot.url, secret=SECRET, format="dingtalk"
            )
            for first in range(0, JOBS, jobs_each)
        ]
        wait_until(
            lambda: all(
                running_deployment.get_registration(each)["deliveries"]["delivered"] == jobs_each for each in registered
            ),
            timeout=60,
            what="a message about every job",
        )
    assert (bot.refused, bot.times.bans) == ([], 0)
    assert Counter(messages_about(bot.messages, job) for job in jobs) == {1: JOBS}
    assert len(bot.messages) <= 6
    digests = [tuple(attempt.get("digest") or ()) for attempt in attempts_of_all_deliveries(running_deployment)]
    assert len(digests) == JOBS
    # The record of each delivery lists all events of its message.
    assert all(count == len(digest) for digest, count in Counter(digests).items() if digest)
    assert sum(map(len, set(digests))) + digests.count(()) == JOBS


def attempts_of_all_deliveries(running_deployment: Deployment) -> list[dict[str, Any]]:
    found, cursor = [], ""
    while cursor is not None:
        page = running_deployment.bridge.call("GET", f"/v1/deliveries?limit=200{cursor}")
        found += [running_deployment.bridge.call("GET", f"/v1/deliveries/{item['id']}") for item in page["items"]]
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
    return [attempt for delivery in found for attempt in delivery["attempts"]]


@pytest.mark.parametrize(
    ("point", "messages"),
    [
        pytest.param("claimed", 1, marks=pytest.mark.one_by_one),
        ("claimed_more", 1),
        pytest.param("before_post", 1, marks=pytest.mark.one_by_one),
        ("after_post", 2),
        pytest.param("recorded", 1, marks=pytest.mark.one_by_one),
    ],
)
def test_a_worker_that_is_killed_at_any_point_of_a_digest_loses_none(
    deployment: Deployment, point: str, messages: int
) -> None:
    """Only events that may have been delivered are sent once more."""
    crashing_worker = deployment.start_worker("deliver", BRIDGE_TEST_CRASH_AT=f"deliver.{point}")
    with closing(ChatService(SERVICES["dingtalk"], deployment.clock)) as bot:
        jobs = [deployment.job() for _ in range(5)]
        made = deployment.register(job_ids=jobs, callback_url=bot.url, secret=SECRET, format="dingtalk", notify="both")
        deployment.start_worker("poll")
        wait_until(lambda: crashing_worker.exit_code is not None, what="the worker killed")
        wait_until(lambda: deployment.get_registration(made)["state"] == "finished", what="every job ended")
        deployment.start_worker("deliver")
        wait_until(
            lambda: deployment.get_registration(made)["deliveries"]["delivered"] == len(jobs) + 1, what="all delivered"
        )
    assert bot.refused == []
    counts = [messages_about(bot.messages, job) for job in jobs]
    assert all(1 <= count <= messages for count in counts), counts
    if point == "after_post":
        assert max(counts) == messages
