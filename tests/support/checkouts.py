"""Copies of this checkout, and calls of `./dev` in them."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from app.devkit.install import ROOT

GIT = ["git", "-C", ROOT]
# Variables that ./dev accepts: the nested ./dev uses the same Python and the packages that ./dev test has downloaded.
HERE = {"PYTHON": str(Path(sys.executable).resolve()), "PIP_NO_INDEX": "1"}
DONE = "Every job ended, five callbacks arrived"


def copy_to(folder: Path) -> Path:
    """Copies the files that git tracks, with their uncommitted changes."""
    listed = subprocess.run([*GIT, "ls-files", "-z"], capture_output=True, encoding="utf-8", check=True).stdout
    for name in listed.rstrip("\0").split("\0"):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def dev(checkout: Path, *arguments: str, before: str = "", **environment: str) -> "subprocess.CompletedProcess[str]":
    """before: shell commands to run first."""
    command = f"{before}\nexec ./dev {shlex.join(arguments)}"
    return subprocess.run(
        ["sh", "-c", command],
        cwd=checkout,
        env={**os.environ, **HERE, **environment},  # noqa: TID251 - passed on
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=240,
        check=False,
    )


def demo(checkout: Path, *, before: str = "", **environment: str) -> str:
    """The output of `./dev demo`, which must succeed."""
    done = dev(checkout, "demo", before=before, **environment)
    assert (done.returncode, DONE in done.stdout) == (0, True), done.stdout + done.stderr
    return done.stdout + done.stderr


def is_whole(checkout: Path, **environment: str) -> str:
    """The output of ./dev. Checks that every file of every package exists and that the project can be imported."""
    done = dev(checkout, "run", "--help", **environment)
    assert (done.returncode, "--env-file" in done.stdout) == (0, True), done.stdout + done.stderr
    lock = (checkout / "requirements-trial.lock").read_text(encoding="utf-8")
    names = re.findall(r"^(\S+)==[^;\n]*$", lock, re.MULTILINE)
    script = "from importlib.metadata import files; "
    script += f"print([file for name in {names} for file in files(name) if not file.locate().exists()])"
    listed = subprocess.run(
        [checkout / ".venv" / "bin" / "python", "-c", script], capture_output=True, encoding="utf-8", check=True
    )
    assert listed.stdout == "[]\n"
    return done.stdout + done.stderr
