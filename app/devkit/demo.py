"""`python -m app.devkit.demo`: jobs on their way from registration to callback, shown as it happens."""

import json
import sys
from pathlib import Path
from typing import Any

from app.devkit.bridge import Bridge, StubProcess
from app.devkit.console import Screen
from app.devkit.processes import wait_until
from app.devkit.scenarios import EXAMPLE, REFUSED, Scenario, judge, new_cases
from app.devkit.session import run_trial
from app.devkit.timeline import RECEIVED, Happening, Timeline, TimelineLine, told

DEADLINE_S = 40.0
SETTINGS = {"BRIDGE_POLL_MIN_S": "1", "BRIDGE_POLL_MAX_S": "2", "BRIDGE_LOST_GRACE_S": "4"}


def main() -> int:
    return run_trial(_play)


def _play(folder: Path, screen: Screen) -> None:
    screen.title("Jobs, from registration to callback. CPH is a stand-in, all else is the real thing.\n")
    bridge = Bridge(folder, SETTINGS)
    others = "CPH stand-in, inbox, API, a poll worker and a deliver worker"
    screen.line(TimelineLine("starting", "", f"{bridge.redis.binary}, {others}"))
    with bridge:
        standin, inbox = bridge.start_standin(), bridge.start_inbox()
        bridge.start_worker("poll")
        bridge.start_worker("deliver")
        bridge.start_api()
        screen.line(TimelineLine("ready", "", f"API at {bridge.url}, inbox at {inbox.client.url}"))
        story = Story(bridge, standin, inbox, screen)
        cases = new_cases()
        for case in cases:
            story.register(case)
        wait_until(lambda: story.go_on() == len(cases), timeout=DEADLINE_S, what="the last callback")
        judge(cases, story.callbacks)
        story.show_callback(str(EXAMPLE["job_id"]))
        screen.line(TimelineLine("stopping", "", "every process finishes what it has in hand"))
    screen.say()
    screen.title("Every job ended, five callbacks arrived; `standardwebhooks` verified each signature.")
    screen.say("To try it with callbacks of your own: ./dev run")


class Story:
    def __init__(self, bridge: Bridge, standin: StubProcess, inbox: StubProcess, screen: Screen) -> None:
        self._bridge = bridge
        self._standin = standin
        self._inbox = inbox
        self._screen = screen
        self._happenings = Timeline(bridge.logs, inbox)
        self._names: dict[str, str] = {}
        self._delivered = 0
        self.callbacks: list[Happening] = []

    def register(self, case: Scenario) -> None:
        target = self._restart(case) if case.phones else self._begin(case)
        callback = {"callback_url": f"{self._inbox.client.url}/{case.name}", "secret": self._bridge.secret}
        registration = self._bridge.call("POST", "/v1/registrations", {**target, **callback})
        self._names[registration["id"]] = case.name
        for job in registration["jobs"]:
            self._names[job["job_id"]] = case.name
        subject = case.about if case.phones else f"job {case.job_id}, {case.about}"
        self._screen.line(TimelineLine("registered", case.name, subject))

    def _begin(self, case: Scenario) -> dict[str, Any]:
        if case.script is not None:
            self._standin.client.call("POST", "/_standin/jobs", {**case.script, "job_id": case.job_id})
        return {"job_id": case.job_id}

    def _restart(self, case: Scenario) -> dict[str, Any]:
        """As a service would: it calls CPH, and hands on what CPH answers."""
        about = self._standin.about
        self._standin.client.call("POST", "/_standin/submissions", {"script": case.script, "refused": [REFUSED]})
        path = f"/v1/{about['project_id']}/cloud-phone/phones/batch-restart"
        body = {"phones": [{"phone_id": phone} for phone in case.phones]}
        answer = self._standin.client.call("POST", path, body, {"X-Auth-Token": about["token"]})
        return {"submission": answer, "notify": "all"}

    def go_on(self) -> int:
        """Shows what is new; how many callbacks have been delivered so far."""
        self._bridge.check()
        for happening in self._happenings.new():
            self._tell(happening)
        return min(self._delivered, len(self.callbacks))

    def show_callback(self, job_id: str) -> None:
        """In full. Indented to be read; it travels compact."""
        callback = next(callback for callback in self.callbacks if job_id in callback["body"])
        headers = "\n".join(f"{name}: {value}" for name, value in callback["headers"].items())
        body = json.dumps(json.loads(callback["body"]), indent=2, ensure_ascii=False)
        self._screen.title(f"\nThe {self._names[job_id]}'s callback in full\n")
        self._screen.say(f"{callback['method']} {callback['path']}\n{headers}\n\n{body}\n")

    def _tell(self, happening: Happening) -> None:
        if happening["event"] in ("job.ended", "job.lost"):
            self._tell_polls(happening)
        if line := told(happening, self._names):
            self._screen.line(line, happening["time"])
        if happening["event"] == RECEIVED:
            self.callbacks.append(happening)
        if happening["event"] == "delivery.attempted" and happening["state"] == "delivered":
            self._delivered += 1

    def _tell_polls(self, happening: Happening) -> None:
        """Only the stand-in can say how often it was asked."""
        polls = self._standin.client.call("GET", "/_standin/calls")["by_job"][happening["job_id"]]
        times = "once" if polls == 1 else f"{polls} times"
        self._screen.line(TimelineLine("polled", self._names[happening["job_id"]], times), happening["time"])


if __name__ == "__main__":
    sys.exit(main())
