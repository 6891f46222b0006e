"""All checks of Schemathesis: the running API behaves as its OpenAPI document says.

By hand, with thousands of cases: `SCHEMATHESIS_EXAMPLES=200 ./dev test tests/api/test_api_schemathesis.py -m slow -s`.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from app.config.settings import variables
from app.devkit.bridge import Bridge

CONFIG = Path(__file__).with_name("schemathesis.toml")
COMMAND = Path(sys.executable).with_name("st")
EXAMPLES = variables().get("SCHEMATHESIS_EXAMPLES", "5")
SETTINGS = {
    "BRIDGE_CPH_PROJECT_ID": "p" * 32,
    "BRIDGE_API_WORKERS": "1",
    "BRIDGE_QUOTA_REQUESTS": "0",
    "BRIDGE_ATTEMPT_DEADLINE_S": "1",
}


@pytest.mark.slow
def test_the_service_answers_as_its_document_says(tmp_path: Path) -> None:
    with Bridge(tmp_path, SETTINGS) as bridge:
        api = bridge.start_api()
        command = [COMMAND, "--config-file", CONFIG, "run", f"{bridge.url}/openapi.json"]
        key = ["--header", f"Authorization: Bearer {bridge.key}"]
        limits = ["--checks", "all", "--max-examples", EXAMPLES, "--request-timeout", "20", "--continue-on-failure"]
        # A stream does not end by itself: test_api_events.py covers it.
        result = subprocess.run(
            [*command, *key, *limits, "--exclude-path", "/v1/events/stream", "--no-color", "--seed", "1"],
            capture_output=True,
            encoding="utf-8",
            timeout=1_500,
            check=False,
            cwd=tmp_path,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        generated = re.search(r"([\d,]+) generated", result.stdout)
        assert generated
        print(generated[0])
        assert int(generated[1].replace(",", "")) > 500
        assert api.exit_code is None
        assert requests.get(f"{bridge.url}/healthz", timeout=10).status_code == 200
        assert "api.failed" not in (tmp_path / "logs" / "api.log").read_text(encoding="utf-8")
