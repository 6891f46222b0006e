"""Makes .venv: downloads missing packages into a folder shared by all checkouts, and installs from it."""

import ensurepip
import errno
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from app.devkit.machine import cache_folder, child_environment, pip_settings

ROOT = Path(__file__).resolve().parents[2]
OWN = ROOT / ".dev"  # the files of ./dev in this checkout
LOG = OWN / "install.log"
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed"
PIP = (PYTHON, "-I", "-X", "utf8", "-m", "pip", "--disable-pip-version-check", "--no-input")

TRIAL, DEV = "trial", "dev"  # each has a lock file; dev includes trial
MEGABYTES = {TRIAL: 150, DEV: 500}
CONCURRENT_DOWNLOADS = 4
PACKAGES_PER_CALL = 8
TRIES = 3
RETRY_AFTER_S = 2.0
STALE_AFTER_S = 86_400
SHOW_EVERY = 10
LAST_LINES = 12
MAKE_VENV = "make .venv"
INTERRUPTED = 130  # the exit code of shells after SIGINT
DOWNLOAD = "download"
DOWNLOAD_HINT = (
    "Check the network, the proxy (HTTPS_PROXY) and the index (PIP_INDEX_URL). Downloaded packages are kept: run again."
)


class Failed(Exception):
    """Ends ./dev with a message for the user and an exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def install(kind: str) -> None:
    """Makes .venv complete for that kind of command, whatever state an interrupted installation left. Raises Failed."""
    if is_installed(kind):
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C: ends the child processes too
    try:
        with _lock() as lock_fd:
            if not is_installed(kind):
                _Installation(kind, lock_fd).run()
    except OSError as error:
        raise Failed(_disk_is_full(kind) if error.errno == errno.ENOSPC else _cannot_install(error)) from error
    except KeyboardInterrupt:
        raise Failed("interrupted; downloaded packages are kept", INTERRUPTED) from None


def is_installed(kind: str) -> bool:
    return _read_stamp() in (_stamp(DEV), _stamp(kind))


def pip_variables() -> dict[str, str]:
    try:
        return pip_settings(PIP)
    except ValueError as error:
        raise Failed(f"pip cannot read its settings: {error}") from None


def _read_stamp() -> str:
    """Returns '' if there is none, or if .venv's Python is gone or this user may not run it."""
    try:
        tried = subprocess.run([PYTHON, "-I", "-c", "import click"], capture_output=True, check=False)
        return "" if tried.returncode else STAMP.read_text(encoding="utf-8")
    except OSError:
        return ""


def _stamp(kind: str) -> str:
    return f"{_packages_stamp(kind)} {_digest((ROOT / 'pyproject.toml').read_bytes())}"


def _packages_stamp(kind: str) -> str:
    """Identifies the packages, the Python (PYTHON may name another) and the path, which scripts and the editable
    installation contain."""
    return f"{kind} {_digest(_tag().encode(), os.fsencode(ROOT), _lock_file(kind).read_bytes())}"


def _tag() -> str:
    """Returns the same tag for Pythons that can use each other's packages."""
    return f"{sys.implementation.cache_tag}-{sysconfig.get_platform()}"


def _digest(*parts: bytes) -> str:
    return sha256(b"|".join(parts)).hexdigest()


def _reusable_kind() -> str:
    """Returns the kind of the packages in .venv if they are complete and match the lock file; else ''."""
    packages = _read_stamp().rpartition(" ")[0]
    return next((kind for kind in (DEV, TRIAL) if packages == _packages_stamp(kind)), "")


def _pip_wheel() -> Path | None:
    """Returns the wheel that ensurepip would install. Unpacking it saves the five seconds that compiling pip takes."""
    folders = (sysconfig.get_config_var("WHEEL_PKG_DIR"), Path(ensurepip.__file__).with_name("_bundled"))
    return next((wheel for folder in folders if folder for wheel in Path(folder).glob("pip-*.whl")), None)


def _site_packages() -> str:
    return sysconfig.get_path("purelib", "venv", {"base": str(VENV), "platbase": str(VENV)})


def _lock_file(kind: str) -> Path:
    return ROOT / f"requirements-{kind}.lock"


@contextmanager
def _lock() -> Iterator[int]:
    """Lets one ./dev install at a time. Child processes inherit the descriptor: the lock lasts until all have ended."""
    OWN.mkdir(exist_ok=True)
    with (OWN / "lock").open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _print("Waiting for another ./dev that is installing")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def wheels_folder() -> Path:
    """Returns this Python's folder shared by the user's checkouts; if it is not writable, one in this checkout."""
    for folder in (cache_folder(), OWN):
        wheels = folder / "wheels" / _tag()
        with suppress(OSError):
            wheels.mkdir(parents=True, exist_ok=True)
        if os.access(wheels, os.W_OK):
            return wheels
    raise Failed(f"cannot write to {cache_folder()} nor to {OWN}")


@dataclass(frozen=True, slots=True)
class _Package:
    """A package in a lock file. text: its lines there. conditional: a marker limits it to some machines."""

    text: str
    conditional: bool
    hashes: frozenset[str]


def _read_lock(file: Path) -> list[_Package]:
    blocks = re.findall(r"^\S+==.*\n(?:[ \t]+.*\n)*", file.read_text(encoding="utf-8"), re.MULTILINE)
    return [
        _Package(text, ";" in text.partition("\n")[0], frozenset(re.findall(r"--hash=sha256:(\w+)", text)))
        for text in blocks
    ]


class _Installation:
    """lock_fd: the descriptor of the installation lock."""

    def __init__(self, kind: str, lock_fd: int) -> None:
        self._reused = _reusable_kind()
        self._kind = DEV if self._reused == DEV else kind
        self._lock_fd = lock_fd
        self._started_at = time.monotonic()
        self._packages = _read_lock(_lock_file(self._kind))
        self._wheels = wheels_folder()
        self._environment = child_environment(installing=True)
        self._log = LOG.open("w", encoding="utf-8")
        self._collected: set[str] = set()
        self._count_lock = threading.Lock()
        self._children: set[subprocess.Popen[str]] = set()
        self._stopping = threading.Event()

    def run(self) -> None:
        with self._log:
            # A trial may be running: matching packages stay and others are added. Otherwise .venv is rebuilt.
            if not self._reused:
                self._make_venv()
            self._environment |= pip_variables()
            if self._reused != self._kind:
                self._install_packages()
            if self._reused:
                # The packages are complete, even if the next step is interrupted.
                STAMP.write_text(f"{_packages_stamp(self._kind)} -", encoding="utf-8")
            options = ("--no-deps", "--no-index", "--no-build-isolation", "--editable", ROOT)
            self._call([*PIP, "install", *options], must="install the project itself")
        STAMP.write_text(_stamp(self._kind), encoding="utf-8")
        _print(f"Installed, {self._elapsed}")

    def _make_venv(self) -> None:
        _refuse_impossible_folders()
        STAMP.unlink(missing_ok=True)
        _print(f"Making .venv with Python {sys.version.split()[0]}")
        self._call([sys.executable, "-I", "-X", "utf8", "-m", "venv", "--clear", "--without-pip", VENV], must=MAKE_VENV)
        if wheel := _pip_wheel():
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(_site_packages())
        else:
            self._call([PYTHON, "-I", "-X", "utf8", "-m", "ensurepip"], must=MAKE_VENV)

    def _install_packages(self) -> None:
        missing = self._missing()
        # A package with a marker may be for other machines only: pip decides.
        if any(not package.conditional for package in missing) or not self._unpack("--no-index"):
            self._download(missing)
            # Retry with the index: a package without a wheel needs build dependencies.
            if not self._unpack("--no-index"):
                self._unpack(must="install the downloaded packages")

    def _missing(self) -> list[_Package]:
        """Compares by content, so a damaged file counts as missing."""
        present = {_digest_of_file(file) for file in self._wheels.iterdir()}
        return [package for package in self._packages if not package.hashes & present]

    def _unpack(self, *options: str, must: str = "") -> bool:
        _print(f"Unpacking {len(self._packages)} packages, {self._elapsed}")
        # --no-compile: Python compiles modules when they are imported, and most never are.
        options = ("--no-deps", "--no-compile", "--require-hashes", "--find-links", str(self._wheels), *options)
        return self._call([*PIP, "install", *options, "--requirement", _lock_file(self._kind)], must=must)[0]

    def _download(self, missing: Sequence[_Package]) -> None:
        self._remove_stale_parts()
        _print(f"Downloading {len(missing)} of {len(self._packages)} packages, {self._elapsed}")
        calls = [missing[first : first + PACKAGES_PER_CALL] for first in range(0, len(missing), PACKAGES_PER_CALL)]
        with ThreadPoolExecutor(CONCURRENT_DOWNLOADS) as pool:
            try:
                list(pool.map(self._fetch, calls))
            except BaseException:  # also Ctrl-C: otherwise the pool waits for the other calls
                self._stopping.set()
                for child in tuple(self._children):
                    child.terminate()
                raise

    def _remove_stale_parts(self) -> None:
        """Removes the folders of killed downloads. A younger folder may be in use by another checkout."""
        for part in self._wheels.parent.glob("part-*"):
            with suppress(OSError):
                if part.stat().st_mtime < time.time() - STALE_AFTER_S:  # noqa: TID251 - the clock of file times
                    shutil.rmtree(part)

    def _fetch(self, packages: Sequence[_Package]) -> None:
        for tries_left in reversed(range(TRIES)):
            if self._stopping.is_set():
                return
            with tempfile.TemporaryDirectory(prefix="part-", dir=self._wheels.parent) as part:
                wanted, files = Path(part, "requirements.txt"), Path(part, "files")
                wanted.write_text("".join(package.text for package in packages), encoding="utf-8")
                files.mkdir()
                options = ("--no-deps", "--require-hashes", "--dest", files, "--requirement", wanted)
                must = "" if tries_left else DOWNLOAD
                # TMPDIR: a terminated pip leaves files behind, which are removed with this folder.
                done, output = self._call([*PIP, "download", *options], must=must, on_line=self._count, TMPDIR=part)
                for file in files.iterdir():
                    file.replace(self._wheels / file.name)
            if done or self._stopping.is_set():
                return
            _print(f"  {_failure(output)}; trying again")
            self._stopping.wait(RETRY_AFTER_S)

    def _count(self, line: str) -> None:
        if not line.startswith(("Collecting ", "Ignoring ")):
            return
        with self._count_lock:
            before, self._collected = len(self._collected), self._collected | {line.split()[1].rstrip(":")}
            if len(self._collected) > before and len(self._collected) % SHOW_EVERY == 0:
                _print(f"  {len(self._collected)} packages, {self._elapsed}")

    def _call(
        self, command: Sequence[str | Path], *, must: str = "", on_line: Callable[[str], object] = len, **variables: str
    ) -> tuple[bool, list[str]]:
        """Runs a command; returns whether it succeeded and the lines it printed.

        must: if set, a failure raises Failed with "cannot {must}". on_line: called with each line.
        """
        output = []
        with self._started(command, variables) as child:
            for line in child.stdout or ():
                output.append(line.rstrip())
                self._log.write(line)
                on_line(line)
        if child.returncode and not self._stopping.is_set():
            if any(os.strerror(errno.ENOSPC) in line for line in output):
                raise Failed(_disk_is_full(self._kind))
            if must:
                hint = [DOWNLOAD_HINT] if must == DOWNLOAD else []
                end = [f"The end of {LOG}:", *output[-LAST_LINES:]]
                raise Failed("\n".join([f"cannot {must}: {_failure(output)}", *hint, *end]))
        return not child.returncode, output

    @contextmanager
    def _started(self, command: Sequence[str | Path], variables: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
        with subprocess.Popen(
            command,
            env={**self._environment, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            pass_fds=[self._lock_fd],
        ) as child:
            self._children.add(child)
            if self._stopping.is_set():  # started after _download terminated the others
                child.terminate()
            try:
                yield child
            except BaseException:  # also Ctrl-C: otherwise Popen waits for the child
                child.terminate()
                raise
            finally:
                self._children.discard(child)

    @property
    def _elapsed(self) -> str:
        return f"{time.monotonic() - self._started_at:.0f} s"


def _failure(output: Sequence[str]) -> str:
    """Extracts the package and the reason from pip's output."""
    text = "\n".join(output)
    packages = re.findall(r"^(?:Collecting|.* distribution found for) (\S+)", text, re.MULTILINE)
    # For a broken connection pip first prints the cause with each retry, and in the end only that no version was found.
    reasons = re.findall(r"connection broken by '(.*)': /", text)
    reasons = reasons or [line for line in re.findall(r"^ERROR: (.*)", text, re.MULTILINE) if line != "Exception:"]
    reason = (
        re.sub(r"<[^>]*>: ", "", reasons[-1]) if reasons else next(filter(None, reversed(output)), "no reason given")
    )
    return f"{packages[-1]}: {reason}" if packages else reason


def _cannot_install(error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"cannot install: {error}. The first ./dev in a checkout needs write access to {ROOT}"
    return f"cannot install: {error}"


def _refuse_impossible_folders() -> None:
    """Raises Failed for a path that makes venv, setuptools or pip fail with an error that does not name it."""
    if ":" in str(ROOT) or "$" in str(ROOT):
        raise Failed(f"cannot install in {ROOT}: the path of a checkout must not contain : or $; move it")
    for folder, hint in ((str(ROOT), "move the checkout"), (tempfile.gettempdir(), "set TMPDIR to another folder")):
        try:
            folder.encode()
        except UnicodeEncodeError:
            raise Failed(f"cannot install with {folder!r}, as this path is not UTF-8: {hint}") from None


def _digest_of_file(file: Path) -> str:
    """Returns '' if it is not a readable file."""
    try:
        return sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""


def _disk_is_full(kind: str) -> str:
    folders = f"{VENV}, {cache_folder()} and {tempfile.gettempdir()}"
    hint = "Free some space and run again; finished downloads are kept"
    return f"the disk is full: {folders} take up to {MEGABYTES[kind]} MB. {hint}"


def _print(text: str) -> None:
    print(text, flush=True)
