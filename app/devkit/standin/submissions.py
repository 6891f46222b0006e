"""CPH's operations that begin jobs: rows of a table, as they differ only in where they go and what they answer.

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

# What a body calls those that it is about → what jobs call each of them.
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


def _order(request_id: str, items: list[Item]) -> Item:  # noqa: ARG001 no job begins
    return {"request_id": request_id, "order_id": f"CS{new_id()[:14].upper()}", "product_id": new_id()}


class Operation(NamedTuple):
    """about: the fields, of body or path, that may name what it is about; the first that is there counts."""

    method: str
    path: str
    about: tuple[str, ...] = ()
    shape: Callable[[str, list[Item]], Item] = _jobs
    at_once: bool = False


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
    # Install, uninstall, push and shell: the body's `command` says which.
    Operation("POST", "/v1/<project_id>/cloud-phone/phones/commands", EITHER),
    Operation("POST", "/v1/<project_id>/cloud-phone/phones/sync-commands", EITHER, at_once=True),
    Operation("POST", "/v1/<project_id>/cloud-phone/phones/share-apps", SERVER_IDS),
    Operation("DELETE", "/v1/<project_id>/cloud-phone/phones/share-apps", SERVER_IDS),
    Operation("POST", "/v1/<project_id>/cloud-phone/phones/share-files", SERVER_IDS),
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
        with self.cloud.calls.one("submit"):
            now = self.gateway.admit("submit", project_id)
            subject, ids = _named(operation, in_path)

            def begin_all() -> Response:
                request_id = new_id()
                begun = ids[:1] if operation.shape is _one_job else ids
                items = [self._begin({subject: id}, request_id, operation, now) for id in begun]
                return json_answer(operation.shape(request_id, items))

            return self.gateway.answer("submit", now, begin_all)

    def _begin(self, about: dict[str, str], request_id: str, operation: Operation, now: datetime) -> Item:
        submitting = self.cloud.submitting
        if submitting.refused & set(about.values()):
            return {**about, "error_code": "CPS.0004", "error_msg": "The resource does not exist."}
        template = submitting.script.model_dump(exclude={"job_id", "request_id", *SUBJECTS.values()})
        if operation.at_once:
            template |= {"duration_s": 0, "visible_after_s": 0}
        job = self.cloud.jobs.add(JobScript(**template, **about, request_id=request_id), now)
        shown = job.show(now)
        told = ("status", "error_code", "error_msg", "execute_msg") if operation.at_once else ()
        return {**about, **{field: shown[field] for field in ("job_id", *told)}}


def _named(operation: Operation, in_path: Mapping[str, str]) -> tuple[str, list[str]]:
    """What jobs call them, and their ids."""
    body = request.get_json(silent=True)
    if not isinstance(body, dict):
        raise _invalid("The request body is invalid.")
    if not operation.about:
        return "", []
    given = {**body, **{field: [id] for field, id in in_path.items()}}
    for field in operation.about:
        named = given.get(field)
        if isinstance(named, list) and named:
            return SUBJECTS[field], [_id(each, SUBJECTS[field]) for each in named]
    raise _invalid(f"{' or '.join(operation.about)} is missing.")


def _id(named: object, subject: str) -> str:
    """Some bodies hold plain ids, others objects with an id."""
    id = named.get(subject) if isinstance(named, dict) else named
    if isinstance(id, str) and id:
        return id
    raise _invalid(f"{subject} is missing or wrong.")


def _invalid(why: str) -> CallRefused:
    return CallRefused(400, "CPS.0002", why)
