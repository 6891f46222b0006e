"""The `./dev` commands. This module, install.py and machine.py use the standard library only: they run before anything
is installed."""

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
from app.devkit.machine import CALLED_IN, called_in, child_environment, ignored_settings

HELP = """\
./dev demo     shows jobs on their way from registration to callback; ends by itself
./dev run      starts a whole bridge for trying out; Ctrl-C ends it
./dev env      prints the variables of ./dev run: eval "$(./dev env)" in another shell
./dev test     runs the tests; arguments go to pytest
./dev simulate plays random histories with faults; arguments go to python -m tests.simulate
./dev check    checks style, types and import layers
./dev bench    runs the benchmarks; arguments go to python -m tests.bench
./dev faults   injects faults into a running bridge and judges what it promises; --help shows the options
./dev chart    regenerates the generated files of the Helm chart; the first call installs a gigabyte of test tools
./dev lock     updates all *.lock files; arguments go to uv, e.g. --upgrade
./dev help     prints this text
"""
# Without ./dev the bridge runs without Python's UTF-8 mode, so our code must name the encoding of each text file.
# pyproject.toml makes this warning an error.
ENCODING_WARNINGS = {"PYTHONWARNDEFAULTENCODING": "1"}
# Four workers for two cores, because tests of whole processes mostly wait.
PYTEST = ("-m", "pytest", "-n", "4", "--dist", "worksteal")
WRONG_USAGE = 2
# Runs a module as `python -m` does, but Ctrl-C during its imports ends it without a traceback.
QUIETLY = """\
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


def main(arguments: Sequence[str]) -> int:
    name, *rest = arguments or ["help"]
    # The umask may restrict other users, but not the owner.
    os.umask(os.umask(0) & 0o077)
    commands: dict[str, Callable[[], None]] = {
        "demo": lambda: become(TRIAL, "-c", QUIETLY, "app.devkit.demo", *rest),
        "run": lambda: become(TRIAL, "-c", QUIETLY, "app.devkit.run", *rest),
        "env": print_exports,
        "test": lambda: become(DEV, *PYTEST, *rest, more=ENCODING_WARNINGS),
        "simulate": lambda: become(DEV, "-m", "tests.simulate", *rest),
        "check": check,
        "bench": lambda: become(DEV, "-m", "tests.bench", *rest),
        "faults": lambda: become(DEV, "-m", "tests.faults", *rest),
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
    """Installs the packages for that kind of command, then replaces this process with the Python of .venv."""
    if names := ignored_settings():
        print(f"./dev: ignoring these variables of your shell: {', '.join(names)}", file=sys.stderr)
    install(kind)
    extra = {CALLED_IN: called_in()} if kind == TRIAL else pip_variables()
    environment = {**child_environment(installing=kind != TRIAL), **extra, **(more or {})}
    os.execve(PYTHON, [str(PYTHON), *arguments], environment)


def check() -> None:
    install(DEV)
    for arguments in (("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",)):
        run(PYTHON, "-m", *arguments)
    # Run through Python: the script's shebang holds an absolute path, which is wrong in a moved checkout.
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
    common = ("--universal", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url", "--no-header")
    compiler: tuple[str | Path, ...] = (tools / "bin" / "uv", "--quiet", "pip", "compile", *common, *arguments)
    ours = (*compiler, "pyproject.toml")
    run(*ours, "--extra", "dev", "--output-file", "requirements-dev.lock")
    for extra, file in (("otel", ""), ("trial", "-trial"), ("chart", "-chart")):
        options = ("--constraint", "requirements-dev.lock", "--output-file", f"requirements{file}.lock")
        run(*ours, "--extra", extra, *options)
    for wanted in sorted(ROOT.glob("tests/**/*.in")):
        run(*compiler, wanted, "--output-file", wanted.with_suffix(".lock"))


def run(*command: str | Path) -> None:
    """Runs a command. Raises Failed with its exit code if that is not 0; the command has printed the reason."""
    environment = child_environment(installing=True) | pip_variables()
    code = subprocess.run(command, env=environment, check=False).returncode
    if code:
        raise Failed(f"{Path(command[0]).name} ended with {code}", code)


def print_exports() -> None:
    """Prints the exports of the newest `./dev run` of this checkout: a running one holds a lock on its file."""
    for file in sorted(OWN.glob("run-*.env"), key=_changed_at, reverse=True):
        with suppress(OSError):  # the file is another user's, or its run is ending
            with file.open(encoding="utf-8") as exports:
                try:
                    fcntl.flock(exports, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    print(exports.read(), end="")
                    return
            file.unlink()  # its run was killed
    raise Failed(f"no ./dev run is running in {ROOT}: start one in another shell")


def _changed_at(file: Path) -> float:
    """Returns 0 if the file no longer exists."""
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def fail(message: str, code: int) -> int:
    print(f"./dev: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
