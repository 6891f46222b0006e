"""Real bots: each verifies what the bridge sends, by a package that we have not written, and says it in its room."""

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.devkit.processes import Process, start, wait_until
from tests.support.paths import TESTS
from tests.support.tools import npm_packages, python_packages
from tests.whole.conftest import Whole

pytestmark = pytest.mark.slow

BOTS = TESTS / "bots"
FORMATS = {"standard": "standard", "cloudevents": "cloudevents", "template": "template:errbot"}
READY = "Plugin activation done"
NEVER = "whsec_" + "A" * 40


@pytest.fixture
def errbot(tmp_path: Path, workers: Whole) -> Iterator[tuple[Process, str]]:
    """The bot, and its URL."""
    python = python_packages(BOTS / "errbot" / "requirements.txt", "errbot")
    home = tmp_path / "errbot"
    (home / "data").mkdir(parents=True)
    shutil.copy(BOTS / "errbot" / "config.py", home)
    shutil.copytree(BOTS / "errbot" / "cph", home / "cph")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = f"{python.with_name('errbot')} -c {home / 'config.py'}"
    webserver = {"configs": {"Webserver": {"HOST": "127.0.0.1", "PORT": port, "SSL": None}}}
    environment = {"CPH_SECRET": workers.bridge.secret, "PYTHONUNBUFFERED": "1"}
    with start(["sh", "-c", f'echo "{webserver}" | {command} --storage-merge core'], environment) as merge:
        wait_until(lambda: merge.exit_code is not None, what="Errbot configured")
        assert merge.exit_code == 0
    # Its room is also where it reads: it ends with its input.
    with start(["sh", "-c", f"tail -f /dev/null | {command}"], environment, log=home / "log") as bot:
        url = f"http://127.0.0.1:{port}"
        # No request before that: Flask takes no more routes from plugins once it was asked for one.
        said = home / "errbot.log"
        wait_until(lambda: said.exists() and READY in said.read_text(encoding="utf-8"), what="Errbot ready")
        yield bot, url


@pytest.fixture
def hubot(tmp_path: Path, workers: Whole) -> Iterator[tuple[Process, str]]:
    folder = npm_packages(BOTS / "hubot", "hubot")
    shutil.copy(BOTS / "hubot" / "bot.mjs", folder)  # beside the packages that it imports
    environment = {"CPH_SECRET": workers.bridge.secret, "EXPRESS_PORT": "0", "EXPRESS_BIND_ADDRESS": "127.0.0.1"}
    with start(["node", folder / "bot.mjs"], environment, log=tmp_path / "hubot") as bot:
        yield bot, bot.announcement()["url"]


@pytest.mark.parametrize("name", ["errbot", "hubot"])
def test_a_bot_verifies_what_it_is_told_and_says_it_in_its_room(
    workers: Whole, name: str, request: pytest.FixtureRequest
) -> None:
    bot, url = request.getfixturevalue(name)
    job = workers.job(outcome="failed", error_code="CPS.0003", error_msg='Internal "error" 手机😀.')
    metadata = {"room": "#ops", "note": "Zoë </b>\n"}
    made = {
        path: workers.register(job, callback_url=f"{url}/{path}", format=form, metadata=metadata)
        for path, form in FORMATS.items()
    }
    wait_until(
        lambda: all(workers.look(each)["deliveries"]["delivered"] == 1 for each in made.values()),
        what=f"{name} told in three formats",
    )
    for path, each in made.items():
        found = workers.bridge.call("GET", f"/v1/deliveries?registration_id={each['id']}")
        event_id = found["items"][0]["event_id"]
        said = [line for line in list(bot.lines) if f"/{path} " in line and event_id in line]
        assert said, bot.lines  # more than once if it was too slow for an attempt
        assert all("job.failed" in line for line in said)
    assert not [line for line in bot.lines if "refused" in line]


@pytest.mark.parametrize("name", ["errbot", "hubot"])
def test_a_bot_refuses_what_another_secret_has_signed(
    workers: Whole, name: str, request: pytest.FixtureRequest
) -> None:
    """So that the test above proves something."""
    bot, url = request.getfixturevalue(name)
    body = {"callback_url": f"{url}/standard", "secret": NEVER}

    def answered() -> Any:
        answer = workers.bridge.call("POST", "/v1/callbacks/test", body)
        return answer["verdict"] != "retry" and answer  # a bot may be too slow on a busy machine

    answer = wait_until(answered, what="an answer in time")
    assert (answer["verdict"], answer["status_code"]) == ("refused", 400)
    wait_until(lambda: any("refused: No matching signature" in line for line in bot.lines), what="said in the room")
