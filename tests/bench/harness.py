"""Runs a program on its own Redis, with stand-ins for CPH and the subscribers."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol
from urllib.parse import urlsplit

from redis import Redis
from rich.console import Console

from app.devkit.processes import Process, start
from app.devkit.redis_server import RedisServer

INTERVAL_S = 1.0  # between two polls of a job
TICK_US = 1e6 / os.sysconf("SC_CLK_TCK")

progress = Console(stderr=True, highlight=False)


class Program(Protocol):
    """A measured program: the bridge, the naive program, or the asyncio loop."""

    name: str
    pollers: int  # processes that poll
    environment: Mapping[str, str]

    def command(self, kind: str) -> Sequence[str]:
        """The command of a worker. kind: `poll` or `deliver`."""

    def watch(self, job_ids: Sequence[str]) -> None:
        """Makes the program poll these jobs once a second."""

    def create_deliveries(self, job_ids: Sequence[str]) -> None:
        """Makes a callback due for each job."""


class Standin:
    """A stand-in in its own process, and a client for its control queries."""

    def __init__(self, process: Process) -> None:
        self.urls: list[str] = process.announcement()["urls"]
        self._connection = HTTPConnection(urlsplit(self.urls[0]).netloc)

    def query(self, path: str) -> Any:
        self._connection.request("GET", f"/_bench/{path}")
        return json.load(self._connection.getresponse())


@dataclass(frozen=True, slots=True)
class Rig:
    program: Program
    redis: Any
    cph: Standin
    receiver: Standin
    folder: Path

    @contextmanager
    def workers(self, *kinds: str) -> Iterator[list[Process]]:
        """Runs a worker for each of `kinds`."""
        with ExitStack() as stack:
            yield [
                stack.enter_context(
                    start(self.program.command(kind), self.program.environment, log=self.folder / "workers.log")
                )
                for kind in kinds
            ]


Build = Callable[[str, Standin, Standin], Program]  # arguments: URL of Redis, CPH, receiver


@contextmanager
def rig(build: Build, *, cph: str = "cph", latency_s: float = 0.0, destinations: int = 1) -> Iterator[Rig]:
    """cph: the face of the stand-in for CPH. latency_s, destinations: of the receiver."""
    with (
        TemporaryDirectory(prefix="bench-") as folder,
        RedisServer(Path(folder)) as server,
        _standin(cph, 0.0, 1) as cloud,
        _standin("receiver", latency_s, destinations) as receiver,
        Redis.from_url(server.url) as redis,
    ):
        yield Rig(build(server.url, cloud, receiver), redis, cloud, receiver, Path(folder))


@contextmanager
def _standin(face: str, latency_s: float, ports: int) -> Iterator[Standin]:
    with start([sys.executable, "-m", "tests.bench.servers", face, str(latency_s), str(ports)]) as process:
        yield Standin(process)


def job_ids(count: int) -> list[str]:
    """Ids as long as CPH's."""
    return [f"{number:032x}" for number in range(count)]


def cpu_us(pool: Sequence[Process]) -> float:
    """User and system time so far (μs) of all processes in the groups of these processes."""
    groups = {process.pid for process in pool}
    return sum(_ticks(stat, groups) for stat in Path("/proc").glob("[0-9]*/stat")) * TICK_US


def _ticks(stat: Path, groups: set[int]) -> int:
    try:
        # proc(5): the command, in brackets, may contain spaces; after it come state, ppid, pgrp, …, utime, stime.
        fields = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(fields[11]) + int(fields[12]) if int(fields[2]) in groups else 0
