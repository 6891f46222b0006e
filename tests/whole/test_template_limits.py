"""A template that one tenant's metadata makes loop for ever costs that tenant's deliveries alone."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from app.devkit.processes import wait_until
from tests.support.paths import ROOT

TEMPLATE = """
{%- for i in range(event.data.metadata.n) %}{% for j in range(event.data.metadata.n) %}{% endfor %}{% endfor -%}
{"data": {"registration_id": {{ event.data.registration_id | tojson }}}}
"""
LIMIT = "template errbot, for job.succeeded: takes more than 0.5 s of CPU time"


@pytest.mark.slow
def test_deliveries_die_at_the_limit_and_others_arrive_meanwhile(deployment: Any, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs" / "templates", tmp_path, dirs_exist_ok=True)
    (tmp_path / "errbot.json.j2").write_text(
        TEMPLATE.replace("metadata.n", "metadata.n | default(1)"), encoding="utf-8"
    )
    deployment.start_worker("poll")
    # Two attempts each: twelve times six, half a second of CPU time each, outlast a minute on a busy machine.
    deployment.start_worker("deliver", BRIDGE_TEMPLATES_DIR=str(tmp_path), BRIDGE_RETRY_SCHEDULE="0.2")
    hostile = [
        deployment.register(deployment.job(), format="template:errbot", metadata={"n": 99999}) for _ in range(12)
    ]
    others = [
        deployment.register(deployment.job(), **fields) for fields in ({}, {"format": "template:errbot"}) for _ in "ab"
    ]
    deployment.wait_until_delivered(*others)
    wait_until(lambda: all(is_dead(deployment, each) for each in hostile), what="all hostile ones dead", timeout=60)
    assert any(attempt["error"] == LIMIT for each in hostile for attempt in deployment.attempts(each))


def is_dead(deployment: Any, registration: dict[str, Any]) -> bool:
    return bool(deployment.get_registration(registration)["deliveries"]["dead"])
