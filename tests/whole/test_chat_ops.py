"""Real bots: each verifies callbacks with a third-party package and posts them to its room."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.devkit.processes import Process, start, wait_until
from tests.support.paths import TESTS
from tests.support.ports import free_port
from tests.support.tools import npm_packages, python_packages
from tests.whole.conftest import Deployment

pytestmark = pytest.mark.slow

BOTS = TESTS / "bots"
FORMATS = {"standard": "standard", "cloudevents": "cloudevents", "template": "template:errbot"}
READY = "Plugin activation done"
OTHER_SECRET = "whsec_" + "A" * 40


@pytest.fixture
def errbot(tmp_path: Path, running_deployment: Deployment) -> Iterator[tuple[Process, str]]:
    """The bot and its URL."""
    python = python_packages(BOTS / "errbot" / "requirements.lock", "errbot")
    home = tmp_path / "errbot"
    (home / "data").mkdir(parents=True)
    shutil.copy(BOTS / "errbot" / "config.py", home)
    shutil.copytree(BOTS / "errbot" / "cph", home / "cph")
    port = free_port()
    command = f"{python.with_name('errbot')} -c {home / 'config.py'}"
    webserver = {"configs": {"Webserver": {"HOST": "127.0.0.1", "PORT": port, "SSL": None}}}
    environment = {"CPH_SECRET": running_deployment.bridge.secret, "PYTHONUNBUFFERED": "1"}
    with start(["sh", "-c", f'echo "{webserver}" | {command} --storage-merge core'], environment) as merge:
        wait_until(lambda: merge.exit_code is not None, what="Errbot configured")
        assert merge.exit_code == 0
    # The bot reads commands from its standard input, and ends when that closes.
    with start(["sh", "-c", f"tail -f /dev/null | {command}"], environment, log=home / "log") as bot:
        url = f"http://127.0.0.1:{port}"
        # No request before the bot is ready: after its first request, Flask accepts no more routes from plugins.
        bot_log = home / "errbot.log"
        wait_until(lambda: bot_log.exists() and READY in bot_log.read_text(encoding="utf-8"), what="Errbot ready")
        yield bot, url


@pytest.fixture
def hubot(tmp_path: Path, running_deployment: Deployment) -> Iterator[tuple[Process, str]]:
    folder = npm_packages(BOTS / "hubot", "hubot")
    shutil.copy(BOTS / "hubot" / "bot.mjs", folder)  # beside the packages that it imports
    environment = {
        "CPH_SECRET": running_deployment.bridge.secret,
        "EXPRESS_PORT": "0",
        "EXPRESS_BIND_ADDRESS": "127.0.0.1",
    }
    with start(["node", folder / "bot.mjs"], environment, log=tmp_path / "hubot") as bot:
        yield bot, bot.announcement()["url"]


@pytest.mark.parametrize("name", ["errbot", "hubot"])
def test_a_bot_verifies_each_callback_and_posts_it_to_its_room(
    running_deployment: Deployment, name: str, request: pytest.FixtureRequest
) -> None:
    bot, url = request.getfixturevalue(name)
    job = running_deployment.job(outcome="failed", error_code="CPS.0003", error_msg='Internal "error" 手机😀.')
    metadata = {"room": "#ops", "note": "Zoë </b>\n"}
    registrations = {
        path: running_deployment.register(job, callback_url=f"{url}/{path}", format=form, metadata=metadata)
        for path, form in FORMATS.items()
    }
    wait_until(
        lambda: all(
            running_deployment.get_registration(each)["deliveries"]["delivered"] == 1 for each in registrations.values()
        ),
        what=f"{name} notified in three formats",
    )
    for path, each in registrations.items():
        found = running_deployment.bridge.call("GET", f"/v1/deliveries?registration_id={each['id']}")
        event_id = found["items"][0]["event_id"]
        posted = [line for line in list(bot.lines) if f"/{path} " in line and event_id in line]
        assert posted, bot.lines  # several lines if the bot was too slow for an attempt
        assert all("job.failed" in line for line in posted)
    assert not [line for line in bot.lines if "refused" in line]


@pytest.mark.parametrize("name", ["errbot", "hubot"])
def test_a_bot_refuses_what_another_secret_has_signed(
    running_deployment: Deployment, name: str, request: pytest.FixtureRequest
) -> None:
    """Shows that the bot of the test above does verify signatures."""
    bot, url = request.getfixturevalue(name)
    body = {"callback_url": f"{url}/standard", "secret": OTHER_SECRET}

    def verdict() -> Any:
        answer = running_deployment.bridge.call("POST", "/v1/callbacks/test", body)
        return answer["verdict"] != "retry" and answer  # a bot may be too slow on a busy machine

    answer = wait_until(verdict, what="an answer in time")
    assert (answer["verdict"], answer["status_code"]) == ("refused", 400)
    wait_until(
        lambda: any("refused: No matching signature" in line for line in bot.lines), what="a message in the room"
    )
