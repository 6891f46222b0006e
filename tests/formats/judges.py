"""npm's packages as judges: installed once into .dev, run by node."""

import fcntl
import json
import os
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent / "node"
CACHE = Path(__file__).parent.parent.parent / ".dev" / "judges-of-formats"
MADE_OF = ("package.json", "package-lock.json")


def complaints(**judged: Any) -> list[str]:
    """cards, events: see judge.mjs. Skips where npm has nothing to install from, but never in CI."""
    _install()
    command = ["node", str(HERE / "judge.mjs")]
    told = subprocess.run(
        command, cwd=CACHE, input=json.dumps(judged), capture_output=True, text=True, timeout=60, check=False
    )
    assert told.returncode == 0, told.stderr
    complaints = json.loads(told.stdout)
    assert isinstance(complaints, list)
    return complaints


def _install() -> None:
    wanted = sha256(b"".join((HERE / name).read_bytes() for name in MADE_OF)).hexdigest()
    stamp = CACHE / "installed"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return
        if not shutil.which("npm"):
            _cannot("there is no npm")
        for name in MADE_OF:
            shutil.copy(HERE / name, CACHE / name)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=CACHE, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            _cannot(f"npm cannot install: {done.stderr[-300:]}")
        stamp.write_text(wanted)


def _cannot(reason: str) -> None:
    if os.environ.get("CI") == "true":  # noqa: TID251
        pytest.fail(reason)
    pytest.skip(reason)
