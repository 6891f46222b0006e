"""CPH's operations that start jobs, as a table: they differ only in their path, fields and answer.

Methods, paths and fields are those that huaweicloudsdkcph 3.1.219 sends.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from flask import Blueprint, Response, request

from app.devkit.serving import json_answer
from app.devkit.standin.cloud import Cloud
from app.devkit.standin.gateway import Gateway
from app.devkit.standin.jobs import JobScript
from app.devkit.standin.refusal import CallRefused, new_id

Item = dict[str, Any]

# Field of a submission that names phones or servers → field of the job.
SUBJECTS = {
    "phones": "phone_id",
    "phone_ids": "phone_id",
    "storage_infos": "phone_id",
    "restore_infos": "phone_id",
    "servers": "server_id",
    "server_ids": "server_id",
    "server_id": "server_id",
    "encode_server_ids": "encode_server_id",
}


def _jobs(request_id: str, items: list[Item]) -> Item:
    return {"request_id": request_id, "jobs": items}


def _one_job(request_id: str, items: list[Item]) -> Item:
    return {"request_id": request_id, **items[0]}


def _order(request_id: str, items: list[Item]) -> Item:  # noqa: ARG001 no job starts
    about = {"order_id": f"CS{new_id()[:14].upper()}", "product_id": new_id(), "server_ids": [new_id()]}
    return {"request_id": request_id, **about}


class Operation(NamedTuple):
    """subject_fields: the fields of body or path that may name phones or servers; the first one present is used.

    is_synchronous: its jobs end at once, and the answer has their outcome.
    """

    method: str
    path: str
    subject_fields: tuple[str, ...] = ()
    shape: Callable[[str, list[Item]], Item] = _jobs
    is_synchronous: bool = False


PHONE_IDS, SERVER_IDS, EITHER = ("phone_ids",), ("server_ids",), ("phone_ids", "server_ids")
OPERATIONS = (
    Operation("POST", "/v1/<project_id>/cloud-phone/phones/batch-restart", ("phones",)),
    Operation("POST", "/v1/<project_id>/cloud-phone/phones/batch-reset", ("phones",)),
    Operation("POST", "/v1/<project_id>/cloud-phone/phones/batch-stop", PHONE_IDS),
    Operation("POST", "/v1/<project_id>/cloud-phone/phones/batch-update-property", ("phones",)),
    Operation("POST", "/v1/<project_id>/cloud-phone/phones/expand-volume", ("phones",)),
    Operation("POST", "/v1/<project_id>/cloud-phone/phones/batch-storage", ("storage_infos",)),
    Operation("POST", "/v1/<project_id>/cloud-phone/phones/batch-restore", ("restore_infos",)),
    Operation("POST", "/v1/<project_id>/cloud-phone/phones-traffic", PHONE_IDS),
    # Install, uninstall, push and shell, depending on the body's `command`.
    Operation("POST", "/v1/<project_id>/cloud-phone/phones/commands", EITHER),
    Operation("POST", "/v1/<project_id>/cloud-phone/phones/sync-commands", EITHER, is_synchronous=True),
    Operation("POST", "/v1/<project_id>/cloud-phone/phones/share-apps", SERVER_IDS),
    Operation("DELETE", "/v1/<project_id>/cloud-phone/phones/share-apps", SERVER_IDS),
    Operation("POST", "/v1/<project_id>/cloud-phone/phones/share-files", SERVER_IDS),
    # Lists the files of servers by jobs: a GET that starts them, without a body.
    Operation("GET", "/v1/<project_id>/cloud-phone/servers/share-files", SERVER_IDS),
    Operation("POST", "/v1/<project_id>/servers/attach-share-filesystem", SERVER_IDS),
    Operation("POST", "/v1/<project_id>/servers/detach-share-filesystem", SERVER_IDS),
    Operation("POST", "/v1/<project_id>/cloud-phone/servers/batch-restart", SERVER_IDS),
    Operation("PUT", "/v1/<project_id>/cloud-phone/servers/open-access", ("servers",)),
    Operation("POST", "/v1/<project_id>/cloud-phone/encode-servers/batch-restart", ("encode_server_ids",)),
    Operation("POST", "/v2/<project_id>/cloud-phone/servers/<server_id>/change", ("server_id",), _one_job),
    Operation("DELETE", "/v2/<project_id>/cloud-phone/servers", SERVER_IDS, _one_job),
    Operation("POST", "/v2/<project_id>/cloud-phone/servers", shape=_order),
    Operation("POST", "/v2.1/<project_id>/cloud-phone/servers", shape=_order),
    Operation("POST", "/v1/<project_id>/cloud-phone/servers/change-server-model", shape=_order),
)


@dataclass(frozen=True, slots=True)
class Submissions:
    cloud: Cloud
    gateway: Gateway

    def routes(self) -> Blueprint:
        routes = Blueprint("submissions", __name__)
        for number, operation in enumerate(OPERATIONS):
            submit = partial(self.submit, operation)
            routes.add_url_rule(operation.path, str(number), submit, methods=[operation.method])
        return routes

    def submit(self, operation: Operation, project_id: str, **in_path: str) -> Response:
        with self.cloud.calls.count("submit"):
            now = self.gateway.admit("submit", project_id)
            subject, ids = _subjects(operation, in_path)

            def start_all() -> Response:
                request_id = new_id()
                started = ids[:1] if operation.shape is _one_job else ids
                items = [self._start({subject: id}, request_id, operation, now) for id in started]
                return json_answer(operation.shape(request_id, items))

            return self.gateway.answer("submit", now, start_all)

    def _start(self, about: dict[str, str], request_id: str, operation: Operation, now: datetime) -> Item:
        rules = self.cloud.submission_rules
        if rules.refused & set(about.values()):
            return {**about, "error_code": "CPS.0004", "error_msg": "The resource does not exist."}
        template = rules.script.model_dump(exclude={"job_id", "request_id", *SUBJECTS.values()})
        if operation.is_synchronous:
            template |= {"duration_s": 0, "visible_after_s": 0}
        job = self.cloud.jobs.add(JobScript(**template, **about, request_id=request_id), now)
        shown = job.show(now)
        outcome = ("status", "error_code", "error_msg", "execute_msg") if operation.is_synchronous else ()
        return {**about, **{field: shown[field] for field in ("job_id", *outcome)}}


def _subjects(operation: Operation, in_path: Mapping[str, str]) -> tuple[str, list[str]]:
    """Returns the jobs' field for the named phones or servers, and their ids."""
    in_query = {field: ids.split(",") for field, ids in request.args.items() if field in operation.subject_fields}
    body = in_query if operation.method == "GET" else request.get_json(silent=True)
    if not isinstance(body, dict):
        raise _invalid("The request body is invalid.")
    if not operation.subject_fields:
        return "", []
    fields = {**body, **{field: [id] for field, id in in_path.items()}}
    for field in operation.subject_fields:
        named = fields.get(field)
        if isinstance(named, list) and named:
            return SUBJECTS[field], [_id(each, SUBJECTS[field]) for each in named]
    raise _invalid(f"{' or '.join(operation.subject_fields)} is missing.")


def _id(named: object, subject: str) -> str:
    """Returns the id: some bodies contain plain ids, others objects with an id."""
    id = named.get(subject) if isinstance(named, dict) else named
    if isinstance(id, str) and id:
        return id
    raise _invalid(f"{subject} is missing or wrong.")


def _invalid(why: str) -> CallRefused:
    return CallRefused(400, "CPS.0002", why)
