"""How many registrations a second the API takes."""

import json
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from itertools import count

from app.devkit.processes import start, wait_until
from tests.bench.bridge import API_KEY, Bridge
from tests.bench.figures import Effort, Figure
from tests.bench.harness import progress, rig

CLIENTS = 4
CALLS_A_CONNECTION = 100
READY_S = 30.0
WARM_UP_S = 1.0
CREATED = 201
HEADERS = {"Content-Type": "application/json", "Authorization": f"Bearer {API_KEY}"}


def measure(effort: Effort) -> list[Figure]:
    bridge = rate("app.api", effort.window_s)
    plain = rate("tests.bench.plain_api", effort.window_s)
    return [Figure("registrations through the API", bridge, plain, "1/s")]


def rate(module: str, window_s: float) -> float:
    bind = _free_bind()
    with rig(Bridge) as parts:
        environment = {**parts.program.environment, "BRIDGE_API_BIND": bind, "BRIDGE_PROBE_BIND": "127.0.0.1:0"}
        with start([sys.executable, "-m", module], environment, log=parts.folder / "api.log") as server:
            wait_until(lambda: server.exit_code is not None or _listening(bind), timeout=READY_S, what=module)
            _registered(bind, WARM_UP_S)
            registered = _registered(bind, window_s) / window_s
    progress.print(f"  {module}: {registered:.0f} registrations/s")
    return registered


def _registered(bind: str, seconds: float) -> int:
    until = time.monotonic() + seconds
    with ThreadPoolExecutor(CLIENTS) as clients:
        return sum(clients.map(lambda number: _register(bind, number, until), range(CLIENTS)))


def _register(bind: str, client: int, until: float) -> int:
    """One after another; how many."""
    connection = HTTPConnection(bind)
    for done in count():
        if done % CALLS_A_CONNECTION == 0:
            connection.close()  # the kernel deals connections out unevenly: one deal must not make the figure
        if time.monotonic() >= until:
            break
        job_id = f"{client:08x}{time.monotonic_ns():024x}"
        body = json.dumps({"job_id": job_id, "callback_url": "http://127.0.0.1:9/hooks/cph"})
        connection.request("POST", "/v1/registrations", body, HEADERS)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != CREATED:
            raise RuntimeError(f"answered {answer.status}: {text[:200]!r}")
    connection.close()
    return done


def _free_bind() -> str:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listening.getsockname()[1]}"


def _listening(bind: str) -> bool:
    host, port = bind.split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0
