"""A Redis primary, its replicas and Sentinels: real processes on loopback that can be partitioned."""

import os
import re
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any, Self

from redis import Redis
from redis.exceptions import RedisError

from app.devkit.processes import PATIENCE_S, Process, start, wait_until
from app.devkit.redis_server import find_server
from app.store.engine.refusals import RIGHTS
from tests.support.ports import free_port

SERVICE = "bridge"
QUORUM = 2
SEEN_DOWN_MS = 1_000
# Source addresses, by which Door distinguishes them. NEAR: servers on the first primary's side of a partition.
CLIENTS, SERVERS, NEAR = "127.0.0.1", "127.0.0.2", "127.0.0.3"
PASSWORD = "pw-of-redis"
SENTINEL_PASSWORD = "pw-of-sentinels"
USER = "bridge"


class RedisGroup:
    """While entered, it has a primary that all replicas follow and on which all Sentinels agree.

    Replicas and Sentinels reach the first primary only through `door`, which can be shut while clients still connect.
    near: how many of the replicas stay with the first primary in a partition; they have doors of their own.
    """

    def __init__(
        self, folder: Path, *, replicas: int = 1, near: int = 0, sentinels: int = 0, options: Sequence[str] = ()
    ) -> None:
        self._folder = folder
        self._replica_count, self._near_count, self._sentinel_count = replicas, near, sentinels
        self._options = options
        self._stack = ExitStack()
        self.processes: dict[int, Process] = {}  # of servers and Sentinels, by port
        self.sentinels: list[int] = []  # ports
        self.sentinel_password = SENTINEL_PASSWORD  # the current one

    def __enter__(self) -> Self:
        self.first = free_port()
        self.door = self._stack.enter_context(Door(self.first))
        self._start_server(self.first, "--replica-announce-port", str(self.door.port), *self._options)
        self.replicas = [free_port() for _ in range(self._replica_count)]
        self._near_doors = {port: self._stack.enter_context(Door(port)) for port in self.replicas[: self._near_count]}
        for port in self.replicas:
            options = ["--replicaof", f"{CLIENTS} {self.door.port}", *self._options]
            if port in self._near_doors:
                options += ["--replica-announce-port", str(self._near_doors[port].port)]
            self._start_server(port, *options, source=NEAR if port in self._near_doors else SERVERS)
        self.wait_until_followed(self.first, self._replica_count)
        self.sentinels = [self._start_sentinel() for _ in range(self._sentinel_count)]
        for port in self.sentinels:
            wait_until(lambda: self._sees_all(port), what="Sentinels that know each other")  # noqa: B023
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGCONT)
        self._stack.close()

    @property
    def settings(self) -> dict[str, str]:
        """Settings of a bridge that uses the Sentinels."""
        return {
            "BRIDGE_REDIS_URL": f"redis://{USER}:{PASSWORD}@by-sentinel/0",
            "BRIDGE_REDIS_SENTINELS": ",".join(f"{CLIENTS}:{port}" for port in self.sentinels),
            "BRIDGE_REDIS_SENTINEL_SERVICE": SERVICE,
            "BRIDGE_REDIS_SENTINEL_PASSWORD": SENTINEL_PASSWORD,
        }

    def url(self, port: int) -> str:
        """The URL of a user with all rights."""
        return f"redis://:{PASSWORD}@{CLIENTS}:{port}/0"

    def primary(self) -> int:
        """The port of the primary according to most Sentinels."""
        ports = [self._primary_info(port)["port"] for port in self.sentinels]
        return max(ports, key=ports.count)

    @contextmanager
    def partitioned(self) -> Iterator[None]:
        """Clients still reach the first primary and the replicas near it. The other servers and Sentinels do not."""
        with ExitStack() as stack:
            for door in (self.door, *self._near_doors.values()):
                stack.enter_context(door.shut_on_servers())
            yield

    def fail_over(self, *options: str) -> None:
        """Fails over as an operator would. Returns when another server is the primary."""
        with self._sentinel(self.sentinels[0]) as sentinel:
            sentinel.execute_command("SENTINEL", "FAILOVER", SERVICE, *options)
        self.wait_until_replaced()

    def knows_coordinated_failover(self) -> bool:
        """Whether the Sentinels are those of Valkey 9 or newer."""
        with self._sentinel(self.sentinels[0]) as sentinel:
            version = str(sentinel.info("server").get("valkey_version", "0"))
        return int(version.partition(".")[0]) >= 9

    def tell_sentinels(self, *command: str) -> None:
        for port in self.sentinels:
            with self._sentinel(port) as sentinel:
                sentinel.execute_command(*command)

    def freeze(self, port: int) -> None:
        os.killpg(self.processes[port].pid, signal.SIGSTOP)

    def thaw(self, port: int) -> None:
        os.killpg(self.processes[port].pid, signal.SIGCONT)

    def wait_until_promoted(self) -> int:
        """Waits for a new primary in place of the first one. Returns its port."""

        def promoted() -> int:
            port = self.primary()
            return port if port != self.door.port and self.info(port).get("role") == "master" else 0

        return wait_until(promoted, what="another primary")

    def wait_until_replaced(self) -> None:
        """Waits for a new primary that has a replica."""
        self.wait_until_followed(self.wait_until_promoted(), 1)

    def wait_until_followed(self, port: int, count: int) -> None:
        """Waits until the primary has `count` replicas that are online."""

        def followed() -> bool:
            info = self.info(port)
            states = [value["state"] for name, value in info.items() if re.fullmatch(r"slave\d+", name)]
            return info.get("role") == "master" and states.count("online") >= count

        wait_until(followed, what=f"{count} replicas that follow {port}")

    def wait_until_held(self) -> None:
        """Waits until a replica has all data of the first primary: later writes can be acknowledged in time."""
        with Redis.from_url(self.url(self.first), socket_timeout=PATIENCE_S + 10) as client:
            client.set("held", "")
            assert client.wait(1, int(PATIENCE_S * 1000)) == 1, "no replica follows"

    def wait_until_it_follows(self, port: int) -> None:
        def follows() -> bool:
            info = self.info(port)
            return info.get("role") == "slave" and info["master_link_status"] == "up"

        wait_until(follows, what=f"{port} as a replica")

    def info(self, port: int) -> dict[str, Any]:
        """INFO replication of a server, or {} while it does not answer."""
        with Redis.from_url(self.url(port), socket_timeout=1, decode_responses=True) as client:
            try:
                return client.info("replication")
            except RedisError:
                return {}

    def _start_server(self, port: int, *options: str, source: str = SERVERS) -> None:
        folder = self._folder / str(port)
        folder.mkdir(mode=0o700, parents=True)
        argv = [find_server().path, *_options(port, folder, source), "--appendonly", "yes"]
        argv += ["--replica-announce-ip", CLIENTS]
        argv += ["--user", USER, "on", f">{PASSWORD}", *RIGHTS.split()]
        argv += ["--requirepass", PASSWORD, "--masterauth", PASSWORD, "--repl-diskless-sync-delay", "0", *options]
        self.processes[port] = self._stack.enter_context(start(argv))
        wait_until(lambda: self.info(port), what=f"a server on {port}")

    def _start_sentinel(self) -> int:
        port = free_port()
        folder = self._folder / f"sentinel-{port}"
        folder.mkdir(mode=0o700)
        config = folder / "sentinel.conf"
        lines = [
            f"requirepass {SENTINEL_PASSWORD}",
            f"sentinel sentinel-pass {SENTINEL_PASSWORD}",
            f"sentinel announce-ip {CLIENTS}",
            f"sentinel monitor {SERVICE} {CLIENTS} {self.door.port} {QUORUM}",
            f"sentinel auth-pass {SERVICE} {PASSWORD}",
            f"sentinel down-after-milliseconds {SERVICE} {SEEN_DOWN_MS}",
            f"sentinel failover-timeout {SERVICE} 6000",
        ]
        config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        argv = [find_server().path, config, "--sentinel", *_options(port, folder)]
        self.processes[port] = self._stack.enter_context(start(argv))
        return port

    def _sees_all(self, port: int) -> bool:
        try:
            info = self._primary_info(port)
        except RedisError:
            return False
        state = (info["num-other-sentinels"], info["num-slaves"], info["flags"])
        return state == (self._sentinel_count - 1, self._replica_count, "master")

    def _primary_info(self, port: int) -> dict[str, Any]:
        with self._sentinel(port) as sentinel:
            info: dict[str, Any] = sentinel.sentinel_master(SERVICE)
            return info

    def _sentinel(self, port: int) -> Redis:
        return Redis(port=port, password=self.sentinel_password, socket_timeout=2, decode_responses=True)


class Door:
    """A TCP proxy to a port. While it is shut, it delays the data of other servers."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.open = Event()
        self.open.set()
        self._listener = socket.create_server((CLIENTS, 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[Thread] = []

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        """All servers have ended before, and their connections with them."""
        self.open.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=5)
        self._listener.close()

    @contextmanager
    def shut_on_servers(self) -> Iterator[None]:
        self.open.clear()
        try:
            yield
        finally:
            self.open.set()

    def _start(self, target: Callable[..., None], *args: Any) -> Thread:
        thread = Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                caller, (address, _) = self._listener.accept()
                self._start(self._join, caller, address == SERVERS)

    def _join(self, caller: socket.socket, server: bool) -> None:
        if server:
            self.open.wait()
        with caller, suppress(OSError), socket.create_connection((CLIENTS, self._target)) as target:
            back = self._start(self._pump, target, caller, server)
            self._pump(caller, target, server)
            back.join()

    def _pump(self, source: socket.socket, sink: socket.socket, server: bool) -> None:
        with suppress(OSError):
            while chunk := source.recv(65_536):
                if server:
                    self.open.wait()
                sink.sendall(chunk)
        for connection in (source, sink):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def _options(port: int, folder: Path, source: str = SERVERS) -> list[str]:
    log = folder / "log"
    options = {"port": str(port), "bind": CLIENTS, "bind-source-addr": source, "dir": str(folder), "logfile": str(log)}
    return [argument for name, value in options.items() for argument in (f"--{name}", value)]
