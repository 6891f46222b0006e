"""`python -m app.devkit.demo`: follows jobs live from registration to callback."""

import json
import sys
from pathlib import Path
from typing import Any

from app.devkit.bridge import Bridge, StubProcess
from app.devkit.console import TrialConsole
from app.devkit.processes import wait_until
from app.devkit.scenarios import EXAMPLE, REFUSED, Scenario, check_callbacks, new_scenarios
from app.devkit.session import run_trial
from app.devkit.timeline import RECEIVED, Timeline, TimelineEntry, TimelineLine, describe

DEADLINE_S = 40.0
SETTINGS = {"BRIDGE_POLL_MIN_S": "1", "BRIDGE_POLL_MAX_S": "2", "BRIDGE_LOST_GRACE_S": "4"}


def main() -> int:
    return run_trial(_play)


def _play(folder: Path, screen: TrialConsole) -> None:
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
        scenarios = new_scenarios()
        for scenario in scenarios:
            story.register(scenario)
        wait_until(lambda: story.update() == len(scenarios), timeout=DEADLINE_S, what="the last callback")
        check_callbacks(scenarios, story.callbacks)
        story.show_callback(str(EXAMPLE["job_id"]))
        screen.line(TimelineLine("stopping", "", "every process finishes its current work"))
    screen.print()
    screen.title("Every job ended, five callbacks arrived; `standardwebhooks` verified each signature.")
    screen.print("To try it with callbacks of your own: ./dev run")


class Story:
    def __init__(self, bridge: Bridge, standin: StubProcess, inbox: StubProcess, screen: TrialConsole) -> None:
        self._bridge = bridge
        self._standin = standin
        self._inbox = inbox
        self._screen = screen
        self._timeline = Timeline(bridge.logs, inbox)
        self._names: dict[str, str] = {}
        self._delivered = 0
        self.callbacks: list[TimelineEntry] = []

    def register(self, scenario: Scenario) -> None:
        target = self._restart(scenario) if scenario.phones else self._start_job(scenario)
        callback = {"callback_url": f"{self._inbox.client.url}/{scenario.name}", "secret": self._bridge.secret}
        registration = self._bridge.call("POST", "/v1/registrations", {**target, **callback})
        self._names[registration["id"]] = scenario.name
        for job in registration["jobs"]:
            self._names[job["job_id"]] = scenario.name
        subject = scenario.about if scenario.phones else f"job {scenario.job_id}, {scenario.about}"
        self._screen.line(TimelineLine("registered", scenario.name, subject))

    def _start_job(self, scenario: Scenario) -> dict[str, Any]:
        if scenario.script is not None:
            self._standin.client.call("POST", "/_standin/jobs", {**scenario.script, "job_id": scenario.job_id})
        return {"job_id": scenario.job_id}

    def _restart(self, scenario: Scenario) -> dict[str, Any]:
        """Calls CPH as a service would; returns a registration's fields with CPH's answer."""
        about = self._standin.about
        self._standin.client.call("POST", "/_standin/submissions", {"script": scenario.script, "refused": [REFUSED]})
        path = f"/v1/{about['project_id']}/cloud-phone/phones/batch-restart"
        body = {"phones": [{"phone_id": phone} for phone in scenario.phones]}
        answer = self._standin.client.call("POST", path, body, {"X-Auth-Token": about["token"]})
        return {"submission": answer, "notify": "all"}

    def update(self) -> int:
        """Shows new entries; returns the number of callbacks delivered so far."""
        self._bridge.check()
        for entry in self._timeline.new():
            self._show(entry)
        return min(self._delivered, len(self.callbacks))

    def show_callback(self, job_id: str) -> None:
        """Shows the whole callback. Its JSON is indented for reading; it is sent in compact form."""
        callback = next(callback for callback in self.callbacks if job_id in callback["body"])
        headers = "\n".join(f"{name}: {value}" for name, value in callback["headers"].items())
        body = json.dumps(json.loads(callback["body"]), indent=2, ensure_ascii=False)
        self._screen.title(f"\nThe {self._names[job_id]}'s callback in full\n")
        self._screen.print(f"{callback['method']} {callback['path']}\n{headers}\n\n{body}\n")

    def _show(self, entry: TimelineEntry) -> None:
        if entry["event"] in ("job.ended", "job.lost"):
            self._show_poll_count(entry)
        if line := describe(entry, self._names):
            self._screen.line(line, entry["time"])
        if entry["event"] == RECEIVED:
            self.callbacks.append(entry)
        if entry["event"] == "delivery.attempted" and entry["state"] == "delivered":
            self._delivered += 1

    def _show_poll_count(self, entry: TimelineEntry) -> None:
        """Shows how often the job was polled, which only the stand-in counts."""
        polls = self._standin.client.call("GET", "/_standin/calls")["by_job"][entry["job_id"]]
        times = "once" if polls == 1 else f"{polls} times"
        self._screen.line(TimelineLine("polled", self._names[entry["job_id"]], times), entry["time"])


if __name__ == "__main__":
    sys.exit(main())
