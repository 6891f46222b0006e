"""Servers on which the bridge must not start. Most are real, three return canned answers."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread

from redis import Redis
from redis.exceptions import RedisError

from app.devkit.processes import start, wait_until
from app.devkit.redis_server import find_server
from app.store.engine.refusals import RIGHTS
from tests.support.ports import free_port
from tests.support.redis_group import CLIENTS, PASSWORD, USER

EVICTING = ("--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru")
OLD_INFO = "# Server\r\nredis_version:6.0.16\r\nredis_mode:standalone\r\nrun_id:1\r\n# Cluster\r\ncluster_enabled:0\r\n"


@dataclass(frozen=True, slots=True)
class Unfit:
    """opened: runs the server and yields its URL. words: part of the required error message."""

    opened: Callable[[Path], AbstractContextManager[str]]
    words: str


@contextmanager
def redis_on(folder: Path, port: int, *options: str) -> Iterator[str]:
    """Runs a Redis and yields the URL of a user with all rights."""
    folder.mkdir(exist_ok=True)
    argv = [find_server().path, *options, "--port", str(port), "--bind", CLIENTS, "--dir", str(folder), "--save", ""]
    with start(argv):
        url = f"redis://{CLIENTS}:{port}/0"
        wait_until(lambda: answers(url), what=f"a server on {port}")
        yield url


def answers(url: str) -> bool:
    with Redis.from_url(url, socket_timeout=1, protocol=2) as client:
        try:
            return bool(client.ping())
        except RedisError:
            return False


def with_options(*options: str, database: int = 0) -> Callable[[Path], AbstractContextManager[str]]:
    @contextmanager
    def opened(folder: Path) -> Iterator[str]:
        with redis_on(folder, free_port(), *options) as url:
            yield f"{url.removesuffix('0')}{database}"

    return opened


def for_user(*rights: str) -> Callable[[Path], AbstractContextManager[str]]:
    """A Redis with the user of docs/operations.md, whose rights are changed by `rights`."""

    @contextmanager
    def opened(folder: Path) -> Iterator[str]:
        user = ("--user", USER, "on", f">{PASSWORD}", *RIGHTS.split(), *rights)
        with redis_on(folder, free_port(), *user) as url:
            yield url.replace("://", f"://{USER}:{PASSWORD}@")

    return opened


@contextmanager
def sentinel(folder: Path, database: int = 0) -> Iterator[str]:
    folder.mkdir(exist_ok=True)
    file = folder / "sentinel.conf"
    file.touch()
    port = str(free_port())
    with start([find_server().path, file, "--sentinel", "--port", port, "--bind", CLIENTS, "--dir", str(folder)]):
        wait_until(lambda: answers(f"redis://{CLIENTS}:{port}"), what="a Sentinel")
        yield f"redis://{CLIENTS}:{port}/{database}"


def canned_server(answers: Mapping[bytes, bytes], otherwise: bytes) -> Callable[[Path], AbstractContextManager[str]]:
    """A server with canned answers by command name."""

    class CannedAnswers(StreamRequestHandler):
        def handle(self) -> None:
            # A client may leave without its answers; socketserver would print that among the output of a command.
            with suppress(ConnectionError):
                self._answer()

        def _answer(self) -> None:
            while head := self.rfile.readline():
                arguments = []
                for _ in range(int(head[1:])):
                    length = int(self.rfile.readline()[1:])
                    arguments.append(self.rfile.read(length + 2)[:-2])
                self.wfile.write(answers.get(arguments[0].upper(), otherwise))

    class CannedServer(ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    @contextmanager
    def opened(_: Path) -> Iterator[str]:
        with CannedServer((CLIENTS, 0), CannedAnswers) as server:
            thread = Thread(target=server.serve_forever)
            thread.start()
            yield f"redis://{CLIENTS}:{server.server_address[1]}/0"
            server.shutdown()
            thread.join()

    return opened


# Answers of Redis 6.0.16 to the commands of the check.
OLD = {
    b"HELLO": b"%3\r\n+server\r\n+redis\r\n+version\r\n+6.0.16\r\n+proto\r\n:3\r\n",
    b"INFO": f"={len(OLD_INFO) + 4}\r\ntxt:{OLD_INFO}\r\n".encode(),
    b"PING": b"+PONG\r\n",
    b"CLIENT": b"-ERR Unknown subcommand or wrong number of arguments for 'SETINFO'. Try CLIENT HELP.\r\n",
}
OLDER = b"-ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `bridge`, `pw-canary`, \r\n"
DENIED = b"-DENIED Redis is running in protected mode because protected mode is enabled and no password is set\r\n"

UNFIT = {
    "old": Unfit(
        canned_server(OLD, b"-ERR unknown command\r\n"), "Redis 6.0.16: the bridge needs Redis 7.0 or newer, or Valkey"
    ),
    "cluster": Unfit(with_options("--cluster-enabled", "yes"), "needs a Redis with `cluster-enabled no`"),
    "evicting": Unfit(with_options(*EVICTING), "(maxmemory-policy allkeys-lru): set maxmemory-policy noeviction"),
    "sentinel": Unfit(sentinel, "set BRIDGE_REDIS_SENTINELS"),
    "sentinel's database": Unfit(partial(sentinel, database=1), "set BRIDGE_REDIS_SENTINELS"),
    "no scripts": Unfit(for_user("-@scripting"), "the user of BRIDGE_REDIS_URL may not call EVALSHA"),
    "no unknown scripts": Unfit(for_user("-eval"), "the user of BRIDGE_REDIS_URL may not call EVAL:"),
    "no writes": Unfit(for_user("-del"), "the user of BRIDGE_REDIS_URL "),
    "no info": Unfit(for_user("-info"), "the user of BRIDGE_REDIS_URL may not call INFO"),
    "older": Unfit(
        canned_server({}, OLDER),
        "HELLO, as no version before 6.0 does: the bridge needs Redis 7.0 or newer",
    ),
    "protected": Unfit(canned_server({}, DENIED), "give Redis a password"),
    "without the database": Unfit(with_options(database=77), "no database of the number in BRIDGE_REDIS_URL"),
    "no keys of RQ": Unfit(for_user("resetkeys", "~cph:*"), "may not use a key of the bridge or of RQ"),
    "renamed in scripts": Unfit(with_options("--rename-command", "PUBLISH", ""), "a command that our scripts call"),
    "no channels": Unfit(for_user("resetchannels"), "may not publish to RQ's channels"),
    "renamed": Unfit(with_options("--rename-command", "EVALSHA", ""), "Redis does not know the command EVALSHA"),
}
