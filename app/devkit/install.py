"""Makes .venv: downloads what is missing into a folder that all checkouts share, and installs from there."""

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

from app.devkit.machine import cache_folder, pip_settings, taken

ROOT = Path(__file__).resolve().parents[2]
OWN = ROOT / ".dev"  # what ./dev keeps in this checkout
LOG = OWN / "install.log"
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed"
PIP = (PYTHON, "-I", "-X", "utf8", "-m", "pip", "--disable-pip-version-check", "--no-input")

TRIAL, DEV = "trial", "dev"  # a lock file each; dev has what trial has
MEGABYTES = {TRIAL: 150, DEV: 500}
AT_ONCE = 4
PACKAGES_A_CALL = 8
TRIES = 3
TRY_AGAIN_S = 2.0
LEFT_BEHIND_S = 86_400
SHOW_EVERY = 10
LAST_LINES = 12
MAKE_VENV = "make .venv"
INTERRUPTED = 130  # as shells have it
DOWNLOAD = "download"
WAY_OUT = "Is there a network, a proxy (HTTPS_PROXY), an index (PIP_INDEX_URL)? What has arrived is kept: run it again."


class Failed(Exception):
    """What ends ./dev, said for the person who called it."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def install(kind: str) -> None:
    """Returns when .venv has what is wanted. Whatever ended an earlier try, and when: this one makes it whole."""
    if is_installed(kind):
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: it ends what it has started
    try:
        with _lock() as held:
            if not is_installed(kind):
                _Installation(kind, held).run()
    except OSError as error:
        raise Failed(_disk_is_full(kind) if error.errno == errno.ENOSPC else _cannot_install(error)) from error
    except KeyboardInterrupt:
        raise Failed("interrupted; what has been downloaded is kept", INTERRUPTED) from None


def is_installed(kind: str) -> bool:
    return _stamped() in (_mark(DEV), _mark(kind))


def pip_variables() -> dict[str, str]:
    try:
        return pip_settings(PIP)
    except ValueError as error:
        raise Failed(f"pip cannot read its settings: {error}") from None


def _stamped() -> str:
    """'' too if .venv has lost the Python that it was made of, or this user may not run it."""
    try:
        tried = subprocess.run([PYTHON, "-I", "-c", "import click"], capture_output=True, check=False)
        return "" if tried.returncode else STAMP.read_text(encoding="utf-8")
    except OSError:
        return ""


def _mark(kind: str) -> str:
    return f"{_mark_of_packages(kind)} {_digest((ROOT / 'pyproject.toml').read_bytes())}"


def _mark_of_packages(kind: str) -> str:
    """The Python too, as PYTHON may name another one; and the path: scripts and the project's own pointer name it."""
    return f"{kind} {_digest(_tag().encode(), os.fsencode(ROOT), _lock_file(kind).read_bytes())}"


def _tag() -> str:
    """Of Pythons that can use each other's packages."""
    return f"{sys.implementation.cache_tag}-{sysconfig.get_platform()}"


def _digest(*parts: bytes) -> str:
    return sha256(b"|".join(parts)).hexdigest()


def _kept() -> str:
    """The kind of the packages in .venv, if they are whole and as wanted; '' if there is none to keep."""
    packages = _stamped().rpartition(" ")[0]
    return next((kind for kind in (DEV, TRIAL) if packages == _mark_of_packages(kind)), "")


def _wheel_of_pip() -> Path | None:
    """What ensurepip installs. It takes five seconds for it, as it compiles all of it; unpacked, it works as well."""
    folders = (sysconfig.get_config_var("WHEEL_PKG_DIR"), Path(ensurepip.__file__).with_name("_bundled"))
    return next((wheel for folder in folders if folder for wheel in Path(folder).glob("pip-*.whl")), None)


def _site_packages() -> str:
    return sysconfig.get_path("purelib", "venv", {"base": str(VENV), "platbase": str(VENV)})


def _lock_file(kind: str) -> Path:
    return ROOT / f"requirements-{kind}.lock"


@contextmanager
def _lock() -> Iterator[int]:
    """One installs at a time. What it starts inherits the descriptor: the lock lasts until the last of it has ended."""
    OWN.mkdir(exist_ok=True)
    with (OWN / "lock").open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("Waiting for another ./dev that is installing")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def wheels_folder() -> Path:
    """Of all checkouts of this user, for this Python; of this checkout, where the user has no place for it."""
    for folder in (cache_folder(), OWN):
        wheels = folder / "wheels" / _tag()
        with suppress(OSError):
            wheels.mkdir(parents=True, exist_ok=True)
        if os.access(wheels, os.W_OK):
            return wheels
    raise Failed(f"cannot write to {cache_folder()} nor to {OWN}")


@dataclass(frozen=True, slots=True)
class _Package:
    """Of a lock file. text: its lines there. conditional: a marker says for which machines it is."""

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
    """held: the descriptor of the lock."""

    def __init__(self, kind: str, held: int) -> None:
        self._kept = _kept()
        self._kind = DEV if self._kept == DEV else kind
        self._held = held
        self._begun = time.monotonic()
        self._packages = _read_lock(_lock_file(self._kind))
        self._wheels = wheels_folder()
        self._environment = taken(installing=True)
        self._log = LOG.open("w", encoding="utf-8")
        self._collected: set[str] = set()
        self._counting = threading.Lock()
        self._children: set[subprocess.Popen[str]] = set()
        self._stopping = threading.Event()

    def run(self) -> None:
        with self._log:
            # Packages that are as wanted stay, as a trial may be running: others are added. Else all is made anew.
            if not self._kept:
                self._make_venv()
            self._environment |= pip_variables()
            if self._kept != self._kind:
                self._install_packages()
            if self._kept:
                # Whatever ends the next step, the packages are whole.
                STAMP.write_text(f"{_mark_of_packages(self._kind)} -", encoding="utf-8")
            options = ("--no-deps", "--no-index", "--no-build-isolation", "--editable", ROOT)
            self._call([*PIP, "install", *options], must="install the project itself")
        STAMP.write_text(_mark(self._kind), encoding="utf-8")
        _say(f"Installed, {self._seconds}")

    def _make_venv(self) -> None:
        _refuse_impossible_folders()
        STAMP.unlink(missing_ok=True)
        _say(f"Making .venv with Python {sys.version.split()[0]}")
        self._call([sys.executable, "-I", "-X", "utf8", "-m", "venv", "--clear", "--without-pip", VENV], must=MAKE_VENV)
        if wheel := _wheel_of_pip():
            with zipfile.ZipFile(wheel) as packed:
                packed.extractall(_site_packages())
        else:
            self._call([PYTHON, "-I", "-X", "utf8", "-m", "ensurepip"], must=MAKE_VENV)

    def _install_packages(self) -> None:
        missing = self._missing()
        # What a marker names may be for other machines: trying tells.
        if any(not package.conditional for package in missing) or not self._unpack("--no-index"):
            self._download(missing)
            # With the index once more: what comes as source alone needs packages to be built with.
            if not self._unpack("--no-index"):
                self._unpack(must="install what was downloaded")

    def _missing(self) -> list[_Package]:
        """By content: what is damaged is missing too."""
        present = {_digest_of_file(file) for file in self._wheels.iterdir()}
        return [package for package in self._packages if not package.hashes & present]

    def _unpack(self, *options: str, must: str = "") -> bool:
        _say(f"Unpacking {len(self._packages)} packages, {self._seconds}")
        # What is imported is compiled when it is: most of it never is.
        options = ("--no-deps", "--no-compile", "--require-hashes", "--find-links", str(self._wheels), *options)
        return self._call([*PIP, "install", *options, "--requirement", _lock_file(self._kind)], must=must)[0]

    def _download(self, missing: Sequence[_Package]) -> None:
        self._sweep()
        _say(f"Downloading {len(missing)} of {len(self._packages)} packages, {self._seconds}")
        calls = [missing[first : first + PACKAGES_A_CALL] for first in range(0, len(missing), PACKAGES_A_CALL)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            try:
                list(pool.map(self._fetch, calls))
            except BaseException:  # Ctrl-C too: the other calls would go on, and would be waited for
                self._stopping.set()
                for child in tuple(self._children):
                    child.terminate()
                raise

    def _sweep(self) -> None:
        """What a ./dev that was killed has left behind; what is younger may be at work for another checkout."""
        for part in self._wheels.parent.glob("part-*"):
            with suppress(OSError):
                if part.stat().st_mtime < time.time() - LEFT_BEHIND_S:  # noqa: TID251 - as files have it
                    shutil.rmtree(part)

    def _fetch(self, packages: Sequence[_Package]) -> None:
        for left in reversed(range(TRIES)):
            if self._stopping.is_set():
                return
            with tempfile.TemporaryDirectory(prefix="part-", dir=self._wheels.parent) as part:
                wanted, files = Path(part, "requirements.txt"), Path(part, "files")
                wanted.write_text("".join(package.text for package in packages), encoding="utf-8")
                files.mkdir()
                options = ("--no-deps", "--require-hashes", "--dest", files, "--requirement", wanted)
                must = "" if left else DOWNLOAD
                # What pip leaves behind when it is ended goes with the folder.
                done, told = self._call([*PIP, "download", *options], must=must, seen=self._count, TMPDIR=part)
                for file in files.iterdir():
                    file.replace(self._wheels / file.name)
            if done or self._stopping.is_set():
                return
            _say(f"  {_what_failed(told)}; trying again")
            self._stopping.wait(TRY_AGAIN_S)

    def _count(self, line: str) -> None:
        if not line.startswith(("Collecting ", "Ignoring ")):
            return
        with self._counting:
            before, self._collected = len(self._collected), self._collected | {line.split()[1].rstrip(":")}
            if len(self._collected) > before and len(self._collected) % SHOW_EVERY == 0:
                _say(f"  {len(self._collected)} packages, {self._seconds}")

    def _call(
        self, command: Sequence[str | Path], *, must: str = "", seen: Callable[[str], object] = len, **variables: str
    ) -> tuple[bool, list[str]]:
        """Whether it succeeded, and what it printed. must: what cannot be done if it does not."""
        told = []
        with self._started(command, variables) as child:
            for line in child.stdout or ():
                told.append(line.rstrip())
                self._log.write(line)
                seen(line)
        if child.returncode and not self._stopping.is_set():
            if any(os.strerror(errno.ENOSPC) in line for line in told):
                raise Failed(_disk_is_full(self._kind))
            if must:
                way_out = [WAY_OUT] if must == DOWNLOAD else []
                end = [f"The end of {LOG}:", *told[-LAST_LINES:]]
                raise Failed("\n".join([f"cannot {must}: {_what_failed(told)}", *way_out, *end]))
        return not child.returncode, told

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
            pass_fds=[self._held],
        ) as child:
            self._children.add(child)
            if self._stopping.is_set():  # it came too late to be among those that were ended
                child.terminate()
            try:
                yield child
            except BaseException:  # Ctrl-C too: it would be waited for
                child.terminate()
                raise
            finally:
                self._children.discard(child)

    @property
    def _seconds(self) -> str:
        return f"{time.monotonic() - self._begun:.0f} s"


def _what_failed(told: Sequence[str]) -> str:
    """The package and the reason, out of what pip printed."""
    text = "\n".join(told)
    packages = re.findall(r"^(?:Collecting|.* distribution found for) (\S+)", text, re.MULTILINE)
    # Of a connection pip says at first why it tries again, and at the end that there is no such version.
    reasons = re.findall(r"connection broken by '(.*)': /", text)
    reasons = reasons or [line for line in re.findall(r"^ERROR: (.*)", text, re.MULTILINE) if line != "Exception:"]
    reason = re.sub(r"<[^>]*>: ", "", reasons[-1]) if reasons else next(filter(None, reversed(told)), "no reason given")
    return f"{packages[-1]}: {reason}" if packages else reason


def _cannot_install(error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"cannot install: {error}. You must be able to write {ROOT} when you first call ./dev there"
    return f"cannot install: {error}"


def _refuse_impossible_folders() -> None:
    """Failed if venv, setuptools or pip would stumble over a path, with words that do not name it."""
    if ":" in str(ROOT) or "$" in str(ROOT):
        raise Failed(f"cannot install in {ROOT}: the path of a checkout must hold no : and no $; move it")
    for folder, way_out in ((str(ROOT), "move the checkout"), (tempfile.gettempdir(), "set TMPDIR to another one")):
        try:
            folder.encode()
        except UnicodeEncodeError:
            raise Failed(f"cannot install with {folder!r}, as this path is not UTF-8: {way_out}") from None


def _digest_of_file(file: Path) -> str:
    """'' for what is not a file that can be read."""
    try:
        return sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""


def _disk_is_full(kind: str) -> str:
    folders = f"{VENV}, {cache_folder()} and {tempfile.gettempdir()}"
    return f"the disk is full: {folders} take up to {MEGABYTES[kind]} MB. What is there is kept; make room, run again"


def _say(text: str) -> None:
    print(text, flush=True)
