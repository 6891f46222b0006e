"""`/_standin/`: the control API, by which a trial or test sets jobs and faults and reads call counts."""

from dataclasses import dataclass

from flask import Blueprint, Response, request
from pydantic import TypeAdapter

from app.devkit.serving import json_answer
from app.devkit.standin.budgets import RequestBudget
from app.devkit.standin.cloud import Cloud
from app.devkit.standin.faults import Fault
from app.devkit.standin.grants import Host
from app.devkit.standin.jobs import JobScript, SubmissionRules

SCRIPTS: TypeAdapter[JobScript | list[JobScript]] = TypeAdapter(JobScript | list[JobScript])


@dataclass(frozen=True, slots=True)
class Control:
    cloud: Cloud

    def routes(self) -> Blueprint:
        routes = Blueprint("control", __name__, url_prefix="/_standin")
        routes.add_url_rule("/jobs", view_func=self.add_jobs, methods=["POST"])
        routes.add_url_rule("/faults", view_func=self.add_fault, methods=["POST"])
        routes.add_url_rule("/faults", view_func=self.recover, methods=["DELETE"])
        routes.add_url_rule("/budget", view_func=self.set_budget, methods=["POST"])
        routes.add_url_rule("/submissions", view_func=self.set_submissions, methods=["POST"])
        routes.add_url_rule("/host", view_func=self.set_host, methods=["POST"])
        routes.add_url_rule("/tokens/expire", view_func=self.expire_tokens, methods=["POST"])
        routes.add_url_rule("/calls", view_func=self.show_calls)
        return routes

    def add_jobs(self) -> Response:
        """Starts the jobs of one script or a list of scripts now."""
        given = SCRIPTS.validate_json(request.get_data())
        scripts = given if isinstance(given, list) else [given]
        now = self.cloud.clock.now()
        for script in scripts:
            self.cloud.jobs.add(script, now)
        return json_answer({"jobs": [script.model_dump() for script in scripts]}, 201)

    def add_fault(self) -> Response:
        fault = Fault.model_validate_json(request.get_data())
        self.cloud.faults.add(fault, self.cloud.clock.now())
        return json_answer(fault.model_dump(), 201)

    def recover(self) -> Response:
        """Also removes budgets, locks and the settings for submissions and host."""
        self.cloud.recover()
        return json_answer({})

    def set_budget(self) -> Response:
        budget = RequestBudget.model_validate_json(request.get_data())
        self.cloud.budgets.set(budget, self.cloud.clock.now())
        return json_answer(budget.model_dump())

    def set_submissions(self) -> Response:
        self.cloud.submission_rules = SubmissionRules.model_validate_json(request.get_data())
        return json_answer(self.cloud.submission_rules.model_dump(mode="json"))

    def set_host(self) -> Response:
        self.cloud.host = Host.model_validate_json(request.get_data())
        return json_answer(self.cloud.host.model_dump())

    def expire_tokens(self) -> Response:
        """Expires temporary keys too."""
        self.cloud.tokens.expire_all(self.cloud.clock.now())
        self.cloud.keys.expire_all()
        return json_answer({})

    def show_calls(self) -> Response:
        return json_answer(self.cloud.calls.as_dict())
