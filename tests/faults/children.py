"""Child processes, and the fleet: the processes of a bridge, which are started again when they end."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, RLock, Thread
from typing import TypeVar

RESTART_S = 0.3
STOP_S = 15.0
YOUNG_S = 5.0
T = TypeVar("T")


def wait_until(condition: Callable[[], T], *, timeout: float = 60.0, what: str) -> T:
    """Returns the condition's first true value. Raises TimeoutError that names `what`."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout:g} s")
        time.sleep(0.02)
    return value


@dataclass(frozen=True, slots=True)
class Exit:
    """by_itself: neither the fault nor the end of the scene asked for it."""

    role: str
    code: int
    by_itself: bool


@dataclass(frozen=True, slots=True)
class Launch:
    """How a role is started."""

    argv: Sequence[str]
    environment: Mapping[str, str]


class Member:
    """A process of the fleet, in a session of its own. stderr: a descriptor in place of the log file."""

    def __init__(
        self, slot: tuple[str, int], launch: Launch, log: Path, folder: Path, stderr: int | None = None
    ) -> None:
        self.slot = slot
        self.role = slot[0]
        self.began = time.monotonic()
        self.excused = False
        with log.open("ab") as errors:
            self.child = subprocess.Popen(
                launch.argv,
                env=launch.environment,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors if stderr is None else stderr,
                cwd=folder,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.child.pid

    def send(self, number: int) -> None:
        """Sends a signal. Its end, which may follow, is the fault's doing."""
        self.excused = self.excused or number not in (signal.SIGSTOP, signal.SIGCONT, signal.SIGHUP)
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def ends_within(self, seconds: float) -> bool:
        try:
            self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def family(self) -> list[int]:
        """The process itself, and those that it started."""
        return in_sessions({self.pid})


class Fleet:
    """Keeps as many processes of each role as wanted running, as Kubernetes does."""

    def __init__(self, folder: Path, root: Path, launch: Callable[[str, int], Launch]) -> None:
        self._folder, self._root, self._launch = folder, root, launch
        self._lock = RLock()
        self._members: dict[tuple[str, int], Member] = {}
        self._sessions: set[int] = set()
        self._ended = Event()
        self.exits: list[Exit] = []
        self.stderr: int | None = None  # of processes that are started from now on
        self._keeper = Thread(target=self._keep, daemon=True)

    def start(self, roles: Iterable[tuple[str, int]]) -> None:
        with self._lock:
            for role in roles:
                self._start(role)
        if not self._keeper.is_alive():
            self._keeper.start()

    def of(self, *roles: str) -> list[Member]:
        """The members of these roles, or all."""
        with self._lock:
            return [member for (role, _), member in sorted(self._members.items()) if not roles or role in roles]

    def restart(self, *roles: str) -> None:
        """Replaces the members of these roles at once, as a crash of them all would."""
        for member in self.of(*roles):
            for pid in member.family():
                member.send(signal.SIGKILL) if pid == member.pid else kill(pid, signal.SIGKILL)

    def stop(self) -> list[int]:
        """Stops everything. Returns the ids of processes that were left behind or did not stop in time."""
        self._ended.set()
        if self._keeper.is_alive():
            self._keeper.join()
        with self._lock:
            members = list(self._members.values())
            for member in members:
                member.excused = True
                kill(member.pid, signal.SIGCONT)
                kill(member.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        slow = []
        for member in members:
            try:
                member.child.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                slow.append(member.pid)
        until = time.monotonic() + 3
        while (left := in_sessions(self._sessions)) and time.monotonic() < until:
            time.sleep(0.1)
        for pid in left:
            kill(pid, signal.SIGKILL)
        for member in members:
            member.child.wait()
            young = time.monotonic() - member.began < STOP_S + YOUNG_S  # Python may not have set its handlers yet
            code = member.child.returncode
            self.exits.append(Exit(member.role, 0 if young and code == -signal.SIGTERM else code, by_itself=False))
        return sorted({*slow, *left})

    def _keep(self) -> None:
        while not self._ended.wait(0.1):
            with self._lock:
                for key, member in list(self._members.items()):
                    code = member.child.poll()
                    if code is not None and time.monotonic() - member.began > RESTART_S:
                        self.exits.append(Exit(member.role, code, by_itself=not member.excused))
                        self._start(key)

    def _start(self, key: tuple[str, int]) -> None:
        role, number = key
        log = self._folder / f"{role}-{number}.log"
        member = Member(key, self._launch(role, number), log, self._root, self.stderr)
        self._members[key] = member
        self._sessions.add(member.pid)


def kill(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def in_sessions(sessions: set[int]) -> list[int]:
    """Ids of the running processes of these sessions."""
    return [pid for pid, state, session in _processes() if session in sessions and state != "Z"]


def has_socket(pid: int) -> bool:
    """Whether the process has connected to anything."""
    with suppress(OSError):
        return any(str(file.readlink()).startswith("socket:") for file in Path(f"/proc/{pid}/fd").iterdir())
    return False


def _processes() -> list[tuple[int, str, int]]:
    """(pid, state, session) of each process; proc(5)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, IndexError):
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            found.append((int(stat.parent.name), fields[0], int(fields[3])))
    return found
