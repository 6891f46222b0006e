"""`/_standin/`: how a trial or a test tells the stand-in what happens, and reads what was asked."""

from dataclasses import dataclass

from flask import Blueprint, Response, request
from pydantic import TypeAdapter

from app.devkit.serving import json_answer
from app.devkit.standin.cloud import Cloud
from app.devkit.standin.faults import Fault
from app.devkit.standin.jobs import Script

SCRIPTS: TypeAdapter[Script | list[Script]] = TypeAdapter(Script | list[Script])


@dataclass(frozen=True, slots=True)
class Control:
    cloud: Cloud

    def routes(self) -> Blueprint:
        routes = Blueprint("control", __name__, url_prefix="/_standin")
        routes.add_url_rule("/jobs", view_func=self.add_jobs, methods=["POST"])
        routes.add_url_rule("/faults", view_func=self.add_fault, methods=["POST"])
        routes.add_url_rule("/faults", view_func=self.clear_faults, methods=["DELETE"])
        routes.add_url_rule("/tokens/expire", view_func=self.expire_tokens, methods=["POST"])
        routes.add_url_rule("/calls", view_func=self.show_calls)
        return routes

    def add_jobs(self) -> Response:
        """One script or a list of them; they begin now."""
        given = SCRIPTS.validate_json(request.get_data())
        scripts = given if isinstance(given, list) else [given]
        now = self.cloud.clock.now()
        for script in scripts:
            self.cloud.jobs.add(script, now)
        return json_answer({"jobs": [script.model_dump() for script in scripts]}, 201)

    def add_fault(self) -> Response:
        fault = Fault.model_validate_json(request.get_data())
        self.cloud.faults.add(fault)
        return json_answer(fault.model_dump(), 201)

    def clear_faults(self) -> Response:
        self.cloud.faults.clear()
        return json_answer({})

    def expire_tokens(self) -> Response:
        self.cloud.tokens.expire_all(self.cloud.clock.now())
        return json_answer({})

    def show_calls(self) -> Response:
        return json_answer(self.cloud.calls.as_dict())
