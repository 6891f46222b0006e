"""Validation of messages by npm packages, which are installed once into .dev and run by node."""

import json
import subprocess
from typing import Any

from tests.support.paths import TESTS
from tests.support.tools import npm_packages

NODE_FOLDER = TESTS / "formats" / "node"


def complaints(**judged: Any) -> list[str]:
    """The errors that the validators report. judged: `cards` or `events`, see judge.mjs.

    Skips the test if npm cannot install, but fails in CI.
    """
    folder = npm_packages(NODE_FOLDER, "judges-of-formats")
    command = ["node", str(NODE_FOLDER / "judge.mjs")]
    done = subprocess.run(
        command, cwd=folder, input=json.dumps(judged), capture_output=True, encoding="utf-8", timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    complaints = json.loads(done.stdout)
    assert isinstance(complaints, list)
    return complaints
