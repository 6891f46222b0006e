"""Texts are UTF-8 in every locale, even if Python is not in UTF-8 mode, which `./dev` turns on."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from app.devkit.bridge import COMMAND, Bridge
from app.devkit.processes import wait_until
from app.formats import standard
from app.formats.samples import SAMPLES

LOCALES = ["zh_CN.GBK", "de_DE.ISO-8859-1", "C"]


@pytest.fixture(params=LOCALES)
def locale(request: pytest.FixtureRequest, locales: str) -> dict[str, str]:
    return {"LC_ALL": request.param, "LOCPATH": locales, "PYTHONUTF8": "0"}


def output_of(argv: list[str | Path], locale: dict[str, str]) -> tuple[str, str]:
    done = subprocess.run(argv, env=locale, capture_output=True, check=True)
    return done.stdout.decode(), done.stderr.decode()


def test_a_command_prints_it(locale: dict[str, str], tmp_path: Path) -> None:
    event = tmp_path / "event.json"
    event.write_bytes(standard.render(SAMPLES[0]))
    shown, _ = output_of([COMMAND, "render", "--format", "slack", "--language", "zh-CN", event], locale)
    assert "成功" in json.dumps(json.loads(shown), ensure_ascii=False)


def test_a_service_logs_it(locale: dict[str, str]) -> None:
    script = r"from app import logs; logs.configure('INFO'); logs.event('tried', reason='\xfc \u6570\u636e \U0001f600')"
    _, logged = output_of([sys.executable, "-c", script], locale)
    assert json.loads(logged)["reason"] == "ü 数据 😀"


@pytest.mark.slow
def test_a_job_is_registered_polled_and_reported(locale: dict[str, str], tmp_path: Path) -> None:
    with Bridge(tmp_path / "bridge", locale) as bridge:
        standin, inbox = bridge.start_standin(), bridge.start_inbox()
        bridge.start_worker("poll")
        bridge.start_worker("deliver")
        bridge.start_api()
        [job] = standin.client.call("POST", "/_standin/jobs", {"duration_s": 0})["jobs"]
        target = {"job_id": job["job_id"], "callback_url": f"{inbox.client.url}/hook", "secret": bridge.secret}
        bridge.call("POST", "/v1/registrations", {**target, "metadata": {"room": "数据 ü"}})
        [callback] = wait_until(inbox.lines, what="the callback")
    assert callback["verified"]
    assert json.loads(callback["body"])["data"]["metadata"] == {"room": "数据 ü"}
