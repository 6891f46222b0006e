"""Measures how many registrations and jobs a second the API accepts, and how long a list takes."""

import json
import secrets
import socket
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection

from app.devkit.processes import start, wait_until
from tests.bench.bridge import API_KEY, BridgeUnderBench
from tests.bench.figures import Effort, Figure
from tests.bench.harness import Rig, job_ids, progress, rig
from tests.support.ports import free_port

CLIENTS = 4
CALLS_A_CONNECTION = 100
READY_S = 30.0
WARM_UP_S = 1.0
ROUNDS = 10
CREATED, OK = 201, 200
JOBS_AT_ONCE = 1_000
PAGE_SIZE, FEW, LISTS = 50, 100, 60
HEADERS = {"Content-Type": "application/json", "Authorization": f"Bearer {API_KEY}"}
CALLBACK = "http://127.0.0.1:9/hooks/cph"
UNBOUNDED = {"BRIDGE_QUOTA_REGISTRATIONS": "0", "BRIDGE_QUOTA_REQUESTS": "0"}


def measure(effort: Effort) -> list[Figure]:
    with served("app.api") as (_, bind), served("tests.bench.plain_api") as (_, plain_bind):
        durations, plain_durations = _in_rounds((bind, plain_bind), effort.window_s)
        many = _many_at_once(bind, effort.window_s)
    one_by_one, p99 = _rate(durations, effort.window_s)
    plain, plain_p99 = _rate(plain_durations, effort.window_s)
    progress.print(f"  app.api: {one_by_one:.0f} registrations/s, 99 % within {p99:.1f} ms; {many:.0f} jobs/s at once")
    progress.print(f"  plain view: {plain:.0f} requests/s, 99 % within {plain_p99:.1f} ms")
    few, lots = _lists(effort)
    return [
        Figure("registrations through the API", one_by_one, plain, "1/s", wanted=0.5),
        Figure("… 99 % within", p99, plain_p99, "ms", less_is_better=True),
        Figure("jobs in calls of 1,000, against single calls", many, one_by_one, "1/s", wanted=20),
        Figure(f"list of {PAGE_SIZE} out of {effort.backlogs[-1]:,}, against out of {FEW}", lots, few, "ms", 0.5, True),
    ]


@contextmanager
def served(module: str) -> Iterator[tuple[Rig, str]]:
    """Starts an API server on a rig. Yields the rig and the server's address."""
    bind = _free_bind()
    with rig(BridgeUnderBench) as parts:
        settings = {**UNBOUNDED, "BRIDGE_API_BIND": bind, "BRIDGE_PROBE_BIND": "127.0.0.1:0"}
        environment = {**parts.program.environment, **settings}
        with start([sys.executable, "-m", module], environment, log=parts.folder / "api.log") as server:
            wait_until(lambda: server.exit_code is not None or _listening(bind), timeout=READY_S, what=module)
            yield parts, bind


def _in_rounds(binds: Sequence[str], seconds: float) -> list[list[float]]:
    """The duration (s) of each registration, for each server, after a warm-up.

    The servers alternate in short rounds, so that other load on the machine affects both.
    """
    durations: list[list[float]] = [[] for _ in binds]
    for bind in binds:
        _register_with_clients(bind, WARM_UP_S)
    for _ in range(ROUNDS):
        for bind, of_server in zip(binds, durations, strict=True):
            of_server.extend(_register_with_clients(bind, seconds / ROUNDS))
    return durations


def _rate(durations: Sequence[float], seconds: float) -> tuple[float, float]:
    """Registrations a second, and the 99th percentile of their duration in milliseconds."""
    return len(durations) / seconds, statistics.quantiles(durations, n=100)[98] * 1000


def _register_with_clients(bind: str, seconds: float) -> list[float]:
    until = time.monotonic() + seconds
    with ThreadPoolExecutor(CLIENTS) as clients:
        return [each for found in clients.map(lambda _: _register(bind, until), range(CLIENTS)) for each in found]


def _register(bind: str, until: float) -> list[float]:
    """Registers one job after another. Returns the durations in seconds."""
    connection, durations = HTTPConnection(bind), []
    while (began := time.monotonic()) < until:
        if len(durations) % CALLS_A_CONNECTION == 0:
            connection.close()  # the kernel distributes connections unevenly: vary it
        _post(connection, {"job_id": secrets.token_hex(16), "callback_url": CALLBACK})
        durations.append(time.monotonic() - began)
    connection.close()
    return durations


def _many_at_once(bind: str, seconds: float) -> float:
    """Registered jobs a second, with JOBS_AT_ONCE jobs in a call."""
    connection, calls, began = HTTPConnection(bind), 0, time.monotonic()
    while time.monotonic() < began + seconds:
        jobs = [secrets.token_hex(16) for _ in range(JOBS_AT_ONCE)]
        _post(connection, {"job_ids": jobs, "callback_url": CALLBACK})
        calls += 1
    connection.close()
    return calls * JOBS_AT_ONCE / (time.monotonic() - began)


def _lists(effort: Effort) -> tuple[float, float]:
    """Milliseconds for a list from few registrations, and from very many."""
    with served("app.api") as (parts, bind):
        ids = job_ids(effort.backlogs[-1])
        parts.program.watch(ids[:FEW])
        few = _list(HTTPConnection(bind))
        parts.program.watch(ids[FEW:])
        lots = _list(HTTPConnection(bind))
    progress.print(f"  list of {PAGE_SIZE}: {few:.1f} ms out of {FEW}, {lots:.1f} ms out of {len(ids):,}")
    return few, lots


def _list(connection: HTTPConnection) -> float:
    """The median duration of a list, in milliseconds."""
    durations = []
    for _ in range(LISTS):
        began = time.monotonic()
        connection.request("GET", f"/v1/registrations?limit={PAGE_SIZE}", headers=HEADERS)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != OK or len(json.loads(text)["items"]) != PAGE_SIZE:
            raise RuntimeError(f"answered {answer.status}: {text[:200]!r}")
        durations.append((time.monotonic() - began) * 1000)
    return statistics.median(durations)


def _post(connection: HTTPConnection, body: object) -> None:
    connection.request("POST", "/v1/registrations", json.dumps(body), HEADERS)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != CREATED:
        raise RuntimeError(f"answered {answer.status}: {text[:200]!r}")


def _free_bind() -> str:
    return f"127.0.0.1:{free_port()}"


def _listening(bind: str) -> bool:
    host, port = bind.split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0
