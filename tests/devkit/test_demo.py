"""The demo, run as a process of its own."""

import json
import sys
from pathlib import Path

import pytest

from app.devkit.processes import Process, start, wait_until

DEMO = [sys.executable, "-m", "app.devkit.demo"]


def wait_for_exit(demo: Process) -> int:
    wait_until(lambda: demo.exit_code is not None, timeout=90, what="the demo's end")
    return demo.kill()


@pytest.mark.slow
def test_the_demo_ends_with_0_and_shows_every_step_of_every_job(tmp_path: Path) -> None:
    # The demo ignores the shell's settings of another bridge.
    with start(DEMO, {"TMPDIR": str(tmp_path), "BRIDGE_TENANTS_FILE": "/nowhere", "BRIDGE_LEASE_S": "soon"}) as demo:
        code = wait_for_exit(demo)
    output = "\n".join(demo.lines)
    assert code == 0, output
    steps = [tuple(line.split()[1:3]) for line in demo.lines if len(line.split()) > 2]
    for job in ("example", "failing", "finished", "unknown"):
        assert [step for step, subject in steps if subject == job] == [
            "registered",
            "polled",
            "ended",
            "received",
            "delivered",
        ], output
    restart = [step for step, subject in steps if subject == "restart"]
    assert restart == ["registered", *["polled", "ended"] * 2, "received", "delivered"], output
    assert output.count("signature verified") == 5
    body = json.loads(output[output.index("{") : output.rindex("}") + 1])
    assert body["data"]["job"]["job_id"] == "6837531fd3f54550927b930180a706bf"
    assert "\x1b" not in output
    assert list(tmp_path.iterdir()) == []
