"""npm's packages as judges: installed once into .dev, run by node."""

import json
import subprocess
from typing import Any

from tests.support.paths import TESTS
from tests.support.tools import npm_packages

HERE = TESTS / "formats" / "node"


def complaints(**judged: Any) -> list[str]:
    """cards, events: see judge.mjs. Skips where npm has nothing to install from, but never in CI."""
    cache = npm_packages(HERE, "judges-of-formats")
    command = ["node", str(HERE / "judge.mjs")]
    told = subprocess.run(
        command, cwd=cache, input=json.dumps(judged), capture_output=True, encoding="utf-8", timeout=60, check=False
    )
    assert told.returncode == 0, told.stderr
    complaints = json.loads(told.stdout)
    assert isinstance(complaints, list)
    return complaints
