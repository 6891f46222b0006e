"""`python -m app.devkit.run`: a whole bridge for trying out, until Ctrl-C."""

import json
import shlex
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

import click

from app.devkit.bridge import Bridge, Neighbour
from app.devkit.happenings import Happenings, Line, told
from app.devkit.screen import Screen
from app.devkit.serving import Address, bind_option
from app.devkit.trial import run_trial
from app.domain.errors import OperatorError
from app.settings import load

JOB_S = 10
LOOK_EVERY_S = 0.1


@click.command()
@bind_option
def main(bind: Address) -> None:
    """A whole bridge for trying out. CPH is a stand-in, unless BRIDGE_CPH_PROJECT_ID and its credentials are set."""
    sys.exit(run_trial(lambda folder, screen: _play(folder, screen, bind)))


def _play(folder: Path, screen: Screen, bind: Address) -> None:
    _check_free(bind)
    screen.line(Line("starting", "", "Redis, inbox, API, a poll worker and a deliver worker"))
    project = load().cph_project_id
    with Bridge(folder, {"BRIDGE_API_BIND": f"{bind.host}:{bind.port}"}) as bridge:
        standin = None if project else bridge.start_standin()
        inbox = bridge.start_inbox()
        bridge.start_worker("poll")
        bridge.start_worker("deliver")
        bridge.start_api()
        screen.line(Line("ready", "", f"logs in {bridge.logs}"))
        _introduce(screen, bridge, inbox)
        if standin:
            _invite_to_standin(screen, bridge, standin, inbox)
        else:
            screen.say(f"To register a job of CPH project {project}, with its id for JOB_ID:\n")
            screen.say(_curl_to_register(bridge, inbox, "JOB_ID"))
        screen.title("\nWhat happens is shown here. Ctrl-C ends everything.\n")
        _show_what_happens(screen, bridge, Happenings(bridge.logs, inbox))
        screen.line(Line("stopping", "", "every process finishes what it has in hand"))


def _check_free(bind: Address) -> None:
    """Gunicorn would try for seconds, and then say less."""
    try:
        socket.create_server(bind).close()
    except OSError as error:
        way_out = "choose another address with --bind, port 0 for a free one"
        raise OperatorError(f"cannot listen: {error.strerror}; {way_out}") from error


def _introduce(screen: Screen, bridge: Bridge, inbox: Neighbour) -> None:
    screen.say(f"""
API     {bridge.url}
key     {bridge.key}
inbox   {inbox.client.url}/…  takes callbacks on any path; /_inbox/messages shows them
secret  {bridge.secret}  what the inbox verifies with
metrics {bridge.metrics_url}
""")


def _invite_to_standin(screen: Screen, bridge: Bridge, standin: Neighbour, inbox: Neighbour) -> None:
    job = standin.client.call("POST", "/_standin/jobs", {"duration_s": JOB_S})["jobs"][0]
    more = shlex.join(["curl", "-s", f"{standin.client.url}/_standin/jobs", "-d", json.dumps({"duration_s": JOB_S})])
    screen.say(f"CPH is a stand-in. It has begun a job of {JOB_S} s; to register it:\n")
    screen.say(_curl_to_register(bridge, inbox, job["job_id"]))
    screen.say(f"\nTo have it begin another one (its id is in the answer):\n\n{more}")


def _curl_to_register(bridge: Bridge, inbox: Neighbour, job_id: str) -> str:
    wish = {"job_id": job_id, "callback_url": f"{inbox.client.url}/hook", "secret": bridge.secret}
    headers = [f"Authorization: Bearer {bridge.key}", "Content-Type: application/json"]
    words = ["curl", "-s", f"{bridge.url}/v1/registrations"]
    return shlex.join([*words, *(word for header in headers for word in ("-H", header)), "-d", json.dumps(wish)])


def _show_what_happens(screen: Screen, bridge: Bridge, happenings: Happenings) -> None:
    """Until it is interrupted."""
    with suppress(KeyboardInterrupt):
        while True:
            bridge.check()
            for happening in happenings.new():
                if line := told(happening, {}):
                    screen.line(line, happening["time"])
            time.sleep(LOOK_EVERY_S)


if __name__ == "__main__":
    main()
