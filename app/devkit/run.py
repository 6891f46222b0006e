"""`python -m app.devkit.run`: a whole bridge for trying out, until Ctrl-C."""

import json
import shlex
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

import click

from app.config.settings import Settings, load, variables
from app.devkit import env_file
from app.devkit.bridge import Bridge, StubProcess
from app.devkit.console import Screen
from app.devkit.exports import export_lines, kept
from app.devkit.machine import CALLED_IN
from app.devkit.serving import Address, parse_address
from app.devkit.session import run_trial
from app.devkit.timeline import Timeline, TimelineLine, told
from app.domain.errors import OperatorError

JOB_S = 10
LOOK_EVERY_S = 0.1
USUAL = Address("127.0.0.1", 8080)
# How settings begin that only a real CPH project has.
OF_A_PROJECT = (
    *("BRIDGE_CPH_REGION", "BRIDGE_CPH_ENDPOINT", "BRIDGE_CPH_TOKEN", "BRIDGE_CPH_ACCESS_KEY"),
    *("BRIDGE_CPH_SECRET_KEY", "BRIDGE_CPH_SECURITY_TOKEN", "BRIDGE_IAM_"),
)


@click.command()
@click.option(
    "--bind",
    callback=parse_address,
    help=f"host:port to listen on; port 0 takes a free one.  [default: port {USUAL.port} if it is free, or another]",
)
@click.option("--env-file", type=click.Path(path_type=Path), help="File with BRIDGE_… settings, NAME=value a line.")
def main(bind: Address | None, env_file: Path | None) -> None:
    """A whole bridge for trying out. CPH is a stand-in, unless the --env-file names a CPH project."""
    sys.exit(run_trial(lambda folder, screen: _play(folder, screen, bind, env_file)))


def _play(folder: Path, screen: Screen, bind: Address | None, file: Path | None) -> None:
    # ./dev calls this in its own folder, whatever folder it is called in.
    file = file and Path(variables().get(CALLED_IN, "")) / file
    given = env_file.read(file) if file else {}
    with ExitStack() as stack:
        listener = stack.enter_context(_listen(bind, screen))
        bridge = Bridge(folder, given)
        is_real = _is_real(_load(bridge.environment, file), given, file)
        screen.line(
            TimelineLine("starting", "", f"{bridge.redis.binary}, inbox, API, a poll worker and a deliver worker")
        )
        stack.enter_context(bridge)
        standin = None if is_real else bridge.start_standin()
        inbox = bridge.start_inbox()
        bridge.start_worker("poll")
        bridge.start_worker("deliver")
        bridge.start_api(listener)
        listener.close()
        screen.line(TimelineLine("ready", "", f"logs in {bridge.logs}"))
        exports = export_lines(_variables(bridge, inbox, standin))
        way = ', or run there: eval "$(./dev env)"' if _keep(stack, exports, screen) else ""
        screen.title(f"\nFor another shell, paste this{way}\n")
        screen.say(exports)
        _invite(screen, bridge, inbox, standin)
        screen.say(f"\nDocs of the API {bridge.url}/docs\nMetrics         {bridge.metrics_url}")
        _show_what_happens(screen, bridge, Timeline(bridge.logs, inbox))
        screen.line(TimelineLine("stopping", "", "every process finishes what it has in hand"))


def _listen(bind: Address | None, screen: Screen) -> socket.socket:
    """Gunicorn would take the port seconds later, when somebody else has it, try for seconds, and then say less."""
    try:
        return socket.create_server(bind or USUAL)
    except OSError as error:
        if bind:
            way_out = "choose another address with --bind, port 0 for a free one"
            raise OperatorError(f"cannot listen: {error.strerror}; {way_out}") from error
        screen.line(TimelineLine("warning", "", f"port {USUAL.port} is taken, so the API listens on another one"))
        return socket.create_server((USUAL.host, 0))


def _load(environment: Mapping[str, str], file: Path | None) -> Settings:
    try:
        return load(environment)
    except OperatorError as error:
        raise OperatorError(f"{file}: {error}") from None


def _is_real(settings: Settings, given: Mapping[str, str], file: Path | None) -> bool:
    if settings.cph_project_id or settings.projects_file:
        return True
    for name, value in given.items():
        if value and name.startswith(OF_A_PROJECT):
            missing = "BRIDGE_CPH_PROJECT_ID or BRIDGE_PROJECTS_FILE"
            raise OperatorError(f"{file}: {name} needs a CPH project: set {missing} as well")
    return False


def _variables(bridge: Bridge, inbox: StubProcess, standin: StubProcess | None) -> dict[str, str]:
    """For another shell."""
    return {
        "BRIDGE_URL": bridge.url,
        "BRIDGE_KEY": bridge.key,
        "CALLBACK_URL": _callback_url(inbox),
        "CALLBACK_SECRET": bridge.secret,
        **({"STANDIN": standin.client.url} if standin else {}),
    }


def _callback_url(inbox: StubProcess) -> str:
    return f"{inbox.client.url}/hook"


def _keep(stack: ExitStack, exports: str, screen: Screen) -> bool:
    """Whether `./dev env` finds them."""
    try:
        stack.enter_context(kept(exports))
    except OSError as error:
        screen.line(TimelineLine("warning", "", f"./dev env will not work: cannot write .dev: {error.strerror}"))
        return False
    return True


def _invite(screen: Screen, bridge: Bridge, inbox: StubProcess, standin: StubProcess | None) -> None:
    """To register: one line that is complete, whatever the shell knows."""
    if not standin:
        screen.title("To be told when a job ends, register it; its id goes in place of JOB_ID\n")
        screen.say(_curl_to_register(bridge, inbox, "JOB_ID"))
        return
    job = standin.client.call("POST", "/_standin/jobs", {"duration_s": JOB_S})["jobs"][0]
    more = ["curl", "-sw", r"\n", f"{standin.client.url}/_standin/jobs", "-d", json.dumps({"duration_s": JOB_S})]
    screen.title(f"CPH is a stand-in. It has begun a job of {JOB_S} s; to register it\n")
    screen.say(_curl_to_register(bridge, inbox, job["job_id"]))
    screen.title("\nBegin another job; its id is in the answer\n")
    screen.say(shlex.join(more))
    screen.title('\nMore calls: README.md, "A walk with curl"')


def _curl_to_register(bridge: Bridge, inbox: StubProcess, job_id: str) -> str:
    wish = {"job_id": job_id, "callback_url": _callback_url(inbox), "secret": bridge.secret}
    headers = [f"Authorization: Bearer {bridge.key}", "Content-Type: application/json"]
    words = ["curl", "-sw", r"\n", f"{bridge.url}/v1/registrations"]
    return shlex.join([*words, *(word for header in headers for word in ("-H", header)), "-d", json.dumps(wish)])


def _show_what_happens(screen: Screen, bridge: Bridge, happenings: Timeline) -> None:
    """Until it is interrupted."""
    with suppress(KeyboardInterrupt):
        screen.title("\nWhat happens is shown here. Ctrl-C ends everything.\n")
        while True:
            bridge.check()
            for happening in happenings.new():
                if line := told(happening, {}):
                    screen.line(line, happening["time"])
            time.sleep(LOOK_EVERY_S)


if __name__ == "__main__":
    main()
