"""Another common design: one asyncio loop with a task for each job. Its state is lost when it ends."""

import asyncio
import sys
from collections.abc import Mapping, Sequence

import aiohttp
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from tests.bench.harness import INTERVAL_S, Standin

JOBS = "jobs"  # a list in Redis, from which the loop takes job ids
AT_ONCE = 1_000
RUNNING = 1


class AsyncioLoop:
    name = "asyncio"
    pollers = 1
    environment: Mapping[str, str] = {}

    def __init__(self, redis_url: str, cph: Standin, receiver: Standin) -> None:
        self._addresses = [redis_url, cph.urls[0], receiver.urls[0]]
        self._redis = Redis.from_url(redis_url)

    def command(self, kind: str) -> Sequence[str]:
        """The same command for both kinds: one process does both."""
        return [sys.executable, "-m", "tests.bench.asyncio_loop", *self._addresses]

    def watch(self, job_ids: Sequence[str]) -> None:
        for first in range(0, len(job_ids), AT_ONCE):
            self._redis.rpush(JOBS, *job_ids[first : first + AT_ONCE])

    def create_deliveries(self, job_ids: Sequence[str]) -> None:
        raise NotImplementedError("only its polls are measured")


async def poll(session: aiohttp.ClientSession, cph: str, job_id: str, callback_url: str) -> None:
    clock = asyncio.get_running_loop().time
    due = clock()
    while True:
        async with session.get(f"{cph}/jobs/{job_id}") as answer:
            job = await answer.json()
        if job["status"] != RUNNING:
            break
        due = max(due + INTERVAL_S, clock())
        await asyncio.sleep(due - clock())
    async with session.post(callback_url, json=job, headers={"webhook-id": job_id}):
        pass


async def main(redis_url: str, cph: str, callback_url: str) -> None:
    """Runs until the process is killed."""
    redis = AsyncRedis.from_url(redis_url, decode_responses=True)
    async with aiohttp.ClientSession(headers={"X-Auth-Token": "token"}) as session, asyncio.TaskGroup() as tasks:
        while True:
            for job_id in await redis.lpop(JOBS, AT_ONCE) or ():
                tasks.create_task(poll(session, cph, job_id, callback_url))
            await asyncio.sleep(0.01)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
