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

from app.bootstrap.runtime import Runtime
from app.config.settings import Settings, load, variables
from app.devkit import env_file
from app.devkit.bridge import Bridge, StubProcess
from app.devkit.console import TrialConsole
from app.devkit.exports import export_lines, exports_file
from app.devkit.machine import CALLED_IN
from app.devkit.serving import Address, parse_address
from app.devkit.session import run_trial
from app.devkit.timeline import Timeline, TimelineLine, describe
from app.domain.errors import OperatorError

JOB_S = 10
READ_EVERY_S = 0.1
DEFAULT_BIND = Address("127.0.0.1", 8080)
# Prefixes of the settings that only make sense for a real CPH project.
PROJECT_SETTINGS = (
    *("BRIDGE_CPH_REGION", "BRIDGE_CPH_ENDPOINT", "BRIDGE_CPH_TOKEN", "BRIDGE_CPH_ACCESS_KEY"),
    *("BRIDGE_CPH_SECRET_KEY", "BRIDGE_CPH_SECURITY_TOKEN", "BRIDGE_IAM_"),
)


@click.command()
@click.option(
    "--bind",
    callback=parse_address,
    help=f"host:port to listen on; port 0 picks a free one.  [default: port {DEFAULT_BIND.port}, else a free one]",
)
@click.option("--env-file", type=click.Path(path_type=Path), help="File of BRIDGE_… settings, a NAME=value per line.")
def main(bind: Address | None, env_file: Path | None) -> None:
    """Runs a whole bridge for trying out. CPH is a stand-in, unless the --env-file names a CPH project."""
    sys.exit(run_trial(lambda folder, screen: _play(folder, screen, bind, env_file)))


def _play(folder: Path, screen: TrialConsole, bind: Address | None, file: Path | None) -> None:
    # ./dev runs this in the folder of the checkout: a relative path starts from the user's folder.
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
        or_eval = ', or run there: eval "$(./dev env)"' if _write_exports(stack, exports, screen) else ""
        screen.title(f"\nFor another shell, paste this{or_eval}\n")
        screen.print(exports)
        _show_commands(screen, bridge, inbox, standin)
        screen.print(f"\nDocs of the API {bridge.url}/docs\nMetrics         {bridge.metrics_url}")
        _follow(screen, bridge, Timeline(bridge.logs, inbox))
        screen.line(TimelineLine("stopping", "", "every process finishes its current work"))


def _listen(bind: Address | None, screen: TrialConsole) -> socket.socket:
    """Binds the port at once: gunicorn would bind seconds later, retry for seconds, and give a vaguer error."""
    try:
        address = bind or DEFAULT_BIND
        return socket.create_server(address, family=socket.AF_INET6 if ":" in address.host else socket.AF_INET)
    except OSError as error:
        if bind:
            hint = "choose another address with --bind, port 0 for a free one"
            raise OperatorError(f"cannot listen: {error.strerror}; {hint}") from error
        screen.line(TimelineLine("warning", "", f"port {DEFAULT_BIND.port} is taken, so the API uses another one"))
        return socket.create_server((DEFAULT_BIND.host, 0))


def _load(environment: Mapping[str, str], file: Path | None) -> Settings:
    """Raises OperatorError also for a project that the poll worker could not poll, such as one without credentials."""
    try:
        settings = load(environment)
        Runtime(settings, environment=environment).cph_clients.current()
    except OperatorError as error:
        raise OperatorError(f"{file}: {error}") from None
    return settings


def _is_real(settings: Settings, given: Mapping[str, str], file: Path | None) -> bool:
    if settings.cph_project_id or settings.projects_file:
        return True
    for name, value in given.items():
        if value and name.startswith(PROJECT_SETTINGS):
            missing = "BRIDGE_CPH_PROJECT_ID or BRIDGE_PROJECTS_FILE"
            raise OperatorError(f"{file}: {name} needs a CPH project: set {missing} as well")
    return False


def _variables(bridge: Bridge, inbox: StubProcess, standin: StubProcess | None) -> dict[str, str]:
    """Returns the variables for another shell."""
    return {
        "BRIDGE_URL": bridge.url,
        "BRIDGE_KEY": bridge.key,
        "CALLBACK_URL": _callback_url(inbox),
        "CALLBACK_SECRET": bridge.secret,
        **({"STANDIN": standin.client.url} if standin else {}),
    }


def _callback_url(inbox: StubProcess) -> str:
    return f"{inbox.client.url}/hook"


def _write_exports(stack: ExitStack, exports: str, screen: TrialConsole) -> bool:
    """Returns whether `./dev env` can read them; shows a warning if not."""
    try:
        stack.enter_context(exports_file(exports))
    except OSError as error:
        screen.line(TimelineLine("warning", "", f"./dev env will not work: cannot write .dev: {error.strerror}"))
        return False
    return True


def _show_commands(screen: TrialConsole, bridge: Bridge, inbox: StubProcess, standin: StubProcess | None) -> None:
    """Shows curl commands. The one that registers works in any shell: it uses no variables."""
    if not standin:
        screen.title("To get a callback when a job ends, register it with its id instead of JOB_ID\n")
        screen.print(_curl_to_register(bridge, inbox, "JOB_ID"))
        return
    job = standin.client.call("POST", "/_standin/jobs", {"duration_s": JOB_S})["jobs"][0]
    start_job = ["curl", "-sw", r"\n", f"{standin.client.url}/_standin/jobs", "-d", json.dumps({"duration_s": JOB_S})]
    screen.title(f"CPH is a stand-in. It has started a job of {JOB_S} s; to register it\n")
    screen.print(_curl_to_register(bridge, inbox, job["job_id"]))
    screen.title("\nStart another job; its id is in the answer\n")
    screen.print(shlex.join(start_job))
    screen.title('\nMore calls: README.md, "A walk with curl"')


def _curl_to_register(bridge: Bridge, inbox: StubProcess, job_id: str) -> str:
    body = {"job_id": job_id, "callback_url": _callback_url(inbox), "secret": bridge.secret}
    headers = [f"Authorization: Bearer {bridge.key}", "Content-Type: application/json"]
    command = ["curl", "-sw", r"\n", f"{bridge.url}/v1/registrations"]
    return shlex.join([*command, *(part for header in headers for part in ("-H", header)), "-d", json.dumps(body)])


def _follow(screen: TrialConsole, bridge: Bridge, timeline: Timeline) -> None:
    """Shows the timeline until Ctrl-C."""
    with suppress(KeyboardInterrupt):
        screen.title("\nEvents are shown here. Ctrl-C ends everything.\n")
        while True:
            bridge.check()
            for entry in timeline.new():
                if line := describe(entry, {}):
                    screen.line(line, entry["time"])
            time.sleep(READ_EVERY_S)


if __name__ == "__main__":
    main()
