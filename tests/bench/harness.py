"""What every part stands on: a program on a Redis of its own, between the two stand-ins."""

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
    """What is measured: the bridge, the naive program, or the asyncio loop."""

    name: str
    pollers: int  # processes that poll
    environment: Mapping[str, str]

    def command(self, kind: str) -> Sequence[str]:
        """Starts a worker of that kind, `poll` or `deliver`."""

    def watch(self, job_ids: Sequence[str]) -> None:
        """From now on they are polled once a second."""

    def owe(self, job_ids: Sequence[str]) -> None:
        """From now on a callback is due for each."""


class Standin:
    """A stand-in in a process of its own, and the way to ask what it saw."""

    def __init__(self, process: Process) -> None:
        self.urls: list[str] = process.announcement()["urls"]
        self._connection = HTTPConnection(urlsplit(self.urls[0]).netloc)

    def ask(self, question: str) -> Any:
        self._connection.request("GET", f"/_bench/{question}")
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
        """One for each of `kinds`."""
        with ExitStack() as stack:
            yield [
                stack.enter_context(
                    start(self.program.command(kind), self.program.environment, log=self.folder / "workers.log")
                )
                for kind in kinds
            ]


Build = Callable[[str, Standin, Standin], Program]  # from the URL of its Redis, CPH, the receiver


@contextmanager
def rig(build: Build, *, cph: str = "cph", latency_s: float = 0.0, destinations: int = 1) -> Iterator[Rig]:
    """cph: its face. latency_s, destinations: of the receiver."""
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
    """As long as CPH's own."""
    return [f"{number:032x}" for number in range(count)]


def cpu_us(crew: Sequence[Process]) -> float:
    """User and system time so far of these processes, and of the children in their groups."""
    groups = {process.pid for process in crew}
    return sum(_ticks(stat, groups) for stat in Path("/proc").glob("[0-9]*/stat")) * TICK_US


def _ticks(stat: Path, groups: set[int]) -> int:
    try:
        # proc(5): the command, in brackets, may hold spaces; behind it come state, ppid, pgrp, …, utime, stime.
        fields = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(fields[11]) + int(fields[12]) if int(fields[2]) in groups else 0
