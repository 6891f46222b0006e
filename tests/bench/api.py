"""How many registrations and jobs a second the API takes, and what a list costs."""

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

CLIENTS = 4
CALLS_A_CONNECTION = 100
READY_S = 30.0
WARM_UP_S = 1.0
TURNS = 10
CREATED, OK = 201, 200
JOBS_AT_ONCE = 1_000
SHOWN, FEW, LISTS = 50, 100, 60
HEADERS = {"Content-Type": "application/json", "Authorization": f"Bearer {API_KEY}"}
CALLBACK = "http://127.0.0.1:9/hooks/cph"
UNBOUNDED = {"BRIDGE_QUOTA_REGISTRATIONS": "0", "BRIDGE_QUOTA_REQUESTS": "0"}


def measure(effort: Effort) -> list[Figure]:
    with served("app.api") as (_, bind), served("tests.bench.plain_api") as (_, plain_bind):
        took, plain_took = _in_turns((bind, plain_bind), effort.window_s)
        many = _many_at_once(bind, effort.window_s)
    one_by_one, p99 = _rate(took, effort.window_s)
    plain, plain_p99 = _rate(plain_took, effort.window_s)
    progress.print(f"  app.api: {one_by_one:.0f} registrations/s, 99 % within {p99:.1f} ms; {many:.0f} jobs/s at once")
    progress.print(f"  plain view: {plain:.0f} requests/s, 99 % within {plain_p99:.1f} ms")
    few, lots = _lists(effort)
    return [
        Figure("registrations through the API", one_by_one, plain, "1/s", wanted=0.5),
        Figure("… 99 % within", p99, plain_p99, "ms", less_is_better=True),
        Figure("jobs in calls of 1,000, beside one by one", many, one_by_one, "1/s", wanted=20),
        Figure(f"list of {SHOWN} out of {effort.backlogs[-1]:,}, beside out of {FEW}", lots, few, "ms", 0.5, True),
    ]


@contextmanager
def served(module: str) -> Iterator[tuple[Rig, str]]:
    """What it stands on, and where it listens."""
    bind = _free_bind()
    with rig(BridgeUnderBench) as parts:
        more = {**UNBOUNDED, "BRIDGE_API_BIND": bind, "BRIDGE_PROBE_BIND": "127.0.0.1:0"}
        environment = {**parts.program.environment, **more}
        with start([sys.executable, "-m", module], environment, log=parts.folder / "api.log") as server:
            wait_until(lambda: server.exit_code is not None or _listening(bind), timeout=READY_S, what=module)
            yield parts, bind


def _in_turns(binds: Sequence[str], seconds: float) -> list[list[float]]:
    """How long (s) each registration took of those that were made in that time, for each server, after some to warm up.
    In short turns: both suffer from the same neighbours."""
    took: list[list[float]] = [[] for _ in binds]
    for bind in binds:
        _registered(bind, WARM_UP_S)
    for _ in range(TURNS):
        for bind, its in zip(binds, took, strict=True):
            its.extend(_registered(bind, seconds / TURNS))
    return took


def _rate(took: Sequence[float], seconds: float) -> tuple[float, float]:
    """How many a second, and within how many milliseconds 99 % of them."""
    return len(took) / seconds, statistics.quantiles(took, n=100)[98] * 1000


def _registered(bind: str, seconds: float) -> list[float]:
    until = time.monotonic() + seconds
    with ThreadPoolExecutor(CLIENTS) as clients:
        return [each for took in clients.map(lambda _: _register(bind, until), range(CLIENTS)) for each in took]


def _register(bind: str, until: float) -> list[float]:
    """One after another."""
    connection, took = HTTPConnection(bind), []
    while (began := time.monotonic()) < until:
        if len(took) % CALLS_A_CONNECTION == 0:
            connection.close()  # the kernel deals connections out unevenly: one deal must not make the figure
        _post(connection, {"job_id": secrets.token_hex(16), "callback_url": CALLBACK})
        took.append(time.monotonic() - began)
    connection.close()
    return took


def _many_at_once(bind: str, seconds: float) -> float:
    """Jobs a second."""
    connection, calls, began = HTTPConnection(bind), 0, time.monotonic()
    while time.monotonic() < began + seconds:
        jobs = [secrets.token_hex(16) for _ in range(JOBS_AT_ONCE)]
        _post(connection, {"job_ids": jobs, "callback_url": CALLBACK})
        calls += 1
    connection.close()
    return calls * JOBS_AT_ONCE / (time.monotonic() - began)


def _lists(effort: Effort) -> tuple[float, float]:
    """Milliseconds for a list out of few registrations, and out of very many."""
    with served("app.api") as (parts, bind):
        ids = job_ids(effort.backlogs[-1])
        parts.program.watch(ids[:FEW])
        few = _list(HTTPConnection(bind))
        parts.program.watch(ids[FEW:])
        lots = _list(HTTPConnection(bind))
    progress.print(f"  list of {SHOWN}: {few:.1f} ms out of {FEW}, {lots:.1f} ms out of {len(ids):,}")
    return few, lots


def _list(connection: HTTPConnection) -> float:
    """The median, in milliseconds."""
    took = []
    for _ in range(LISTS):
        began = time.monotonic()
        connection.request("GET", f"/v1/registrations?limit={SHOWN}", headers=HEADERS)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != OK or len(json.loads(text)["items"]) != SHOWN:
            raise RuntimeError(f"answered {answer.status}: {text[:200]!r}")
        took.append((time.monotonic() - began) * 1000)
    return statistics.median(took)


def _post(connection: HTTPConnection, body: object) -> None:
    connection.request("POST", "/v1/registrations", json.dumps(body), HEADERS)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != CREATED:
        raise RuntimeError(f"answered {answer.status}: {text[:200]!r}")


def _free_bind() -> str:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listening.getsockname()[1]}"


def _listening(bind: str) -> bool:
    host, port = bind.split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0
