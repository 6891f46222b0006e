"""`./dev`: every command of this tree. Like install.py and machine.py it needs the standard library alone, as it runs
before anything is installed."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from app.devkit.install import DEV, INTERRUPTED, OWN, PIP, PYTHON, ROOT, TRIAL, VENV, Failed, install, pip_variables
from app.devkit.machine import CALLED_IN, called_in, ignored_settings, taken

HELP = """\
./dev demo     shows jobs on their way from registration to callback; ends by itself
./dev run      keeps a whole bridge up for trying out; Ctrl-C ends it
./dev env      prints what ./dev run exports: eval "$(./dev env)" in another shell
./dev test     the tests; arguments go to pytest
./dev check    style, types and the floors of the imports
./dev bench    measures; arguments go to python -m tests.bench
./dev chart    renews what of the Helm chart is generated; at first it installs what its tests need, a gigabyte
./dev lock     renews requirements*.lock; arguments go to uv, e.g. --upgrade
./dev help     this
"""
# Whoever runs the bridge without ./dev has no UTF-8 mode: our code says the encoding of each text file. pyproject.toml
# makes this warning an error.
ENCODING_IS_SAID = {"PYTHONWARNDEFAULTENCODING": "1"}
# Four for two cores, as the tests of whole processes mostly wait.
PYTEST = ("-m", "pytest", "-n", "4", "--dist", "worksteal")
WRONG_USAGE = 2
# As `python -m` does, but Ctrl-C while it imports ends it without a traceback.
QUIETLY = """\
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


def main(arguments: Sequence[str]) -> int:
    name, *rest = arguments or ["help"]
    # Whatever it takes from others, we can use what we make ourselves.
    os.umask(os.umask(0) & 0o077)
    commands: dict[str, Callable[[], None]] = {
        "demo": lambda: become(TRIAL, "-c", QUIETLY, "app.devkit.demo", *rest),
        "run": lambda: become(TRIAL, "-c", QUIETLY, "app.devkit.run", *rest),
        "env": print_exports,
        "test": lambda: become(DEV, *PYTEST, *rest, more=ENCODING_IS_SAID),
        "check": check,
        "bench": lambda: become(DEV, "-m", "tests.bench", *rest),
        "chart": chart,
        "lock": lambda: lock(rest),
        **dict.fromkeys(("help", "-h", "--help"), lambda: print(HELP, end="")),
    }
    if name not in commands:
        print(HELP, end="", file=sys.stderr)
        return fail(f"no such command: {name}", WRONG_USAGE)
    try:
        commands[name]()
    except Failed as error:
        return fail(str(error), error.code)
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def become(kind: str, *arguments: str, more: Mapping[str, str] | None = None) -> NoReturn:
    """This process becomes the Python of .venv, with what is installed for that kind of command."""
    if names := ignored_settings():
        print(f"./dev: of this shell are ignored: {', '.join(names)}", file=sys.stderr)
    install(kind)
    ours = {CALLED_IN: called_in()} if kind == TRIAL else pip_variables()
    environment = {**taken(installing=kind != TRIAL), **ours, **(more or {})}
    os.execve(PYTHON, [str(PYTHON), *arguments], environment)


def check() -> None:
    install(DEV)
    for arguments in (("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",)):
        run(PYTHON, "-m", *arguments)
    # By way of Python: the script's own first line holds a path that a moved tree has lost.
    run(PYTHON, VENV / "bin" / "lint-imports", "--no-logo")


def chart() -> None:
    install(DEV)
    wanted, present = ROOT / "requirements-chart.lock", VENV / "requirements-chart.lock"
    if not present.exists() or present.read_bytes() != wanted.read_bytes():
        print(f"Installing {wanted.name} into .venv, a gigabyte", flush=True)
        run(*PIP, "install", "--quiet", "--require-hashes", "--requirement", wanted)
        shutil.copy(wanted, present)
    run(PYTHON, "-m", "tests.helm.generated")


def lock(arguments: Sequence[str]) -> None:
    install(DEV)
    tools = VENV / ".tools"
    if not tools.exists():
        run(*PIP, "install", "--quiet", "--target", tools, "uv")
    options = ("--universal", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url", "--no-header")
    compiler = ("--quiet", "pip", "compile", "pyproject.toml", *options, *arguments)
    uv: tuple[str | Path, ...] = (tools / "bin" / "uv", *compiler)
    run(*uv, "--extra", "dev", "--output-file", "requirements-dev.lock")
    for extra, file in (("otel", ""), ("trial", "-trial"), ("chart", "-chart")):
        agreeing = ("--constraint", "requirements-dev.lock", "--output-file", f"requirements{file}.lock")
        run(*uv, "--extra", extra, *agreeing)


def run(*command: str | Path) -> None:
    """Failed with the command's exit code, if that is not 0; it has said why itself."""
    environment = taken(installing=True) | pip_variables()
    code = subprocess.run(command, env=environment, check=False).returncode
    if code:
        raise Failed(f"{Path(command[0]).name} ended with {code}", code)


def print_exports() -> None:
    """Of the newest `./dev run` of this checkout that is up: each holds a lock on its file while it is."""
    for file in sorted(OWN.glob("run-*.env"), key=_changed_at, reverse=True):
        with suppress(OSError):  # of another user, or of a run that ends just now
            with file.open(encoding="utf-8") as exports:
                try:
                    fcntl.flock(exports, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    print(exports.read(), end="")
                    return
            file.unlink()  # of one that was killed
    raise Failed(f"no ./dev run is up in {ROOT}: start one in another shell")


def _changed_at(file: Path) -> float:
    """0 if it is gone."""
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def fail(message: str, code: int) -> int:
    print(f"./dev: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
