"""The OpenAPI document: what the models and routes say, and what only we know: scopes, errors, headers, callbacks."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from app.api.auth.authentication import required_scope
from app.api.middleware.errors import MEDIA_TYPE
from app.api.openapi import examples
from app.api.schemas.events import DestinationEvent, GroupEvent, JobEvent, TestEvent
from app.domain.event import EventType, OwnEventType

SECURITY_SCHEME = "ApiKey"
DESCRIPTION = """\
Tells a URL when Huawei Cloud Phone (CPH) jobs end. Every call under `/v1` needs a key and the scope that
stands beside it; `admin` may everything. Errors are problems as in RFC 9457. Any POST may carry an `Idempotency-Key`.
"""
SECURITY = {
    SECURITY_SCHEME: {
        "type": "http",
        "scheme": "bearer",
        "description": "`Authorization: Bearer <api key>`. A key belongs to a tenant, and has scopes.",
    }
}
PROBLEMS = {
    "400": "Not JSON: as RFC 8259 has it, in UTF-8, no key twice, at most 16 levels deep.",
    "401": "No key, or one that is not valid.",
    "403": "The key lacks the scope.",
    "404": "Not there, or another tenant's.",
    "409": "The first request with this Idempotency-Key is under way, or its state does not allow it.",
    "413": "The body is larger than 256 KiB.",
    "415": "Not application/json in UTF-8.",
    "422": "A field is wrong; `errors` says which, `hint` how to mend it.",
    "429": "A quota is reached: come back after `Retry-After`.",
    "503": "Redis is away or nearly full, or too many wait: come back after `Retry-After`.",
    "default": "Any other problem.",
}
REQUEST_ID = {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}}
RATE = {name: {"$ref": f"#/components/headers/{name}"} for name in ("RateLimit", "RateLimit-Policy")}
LOCATION = {"Location": {"$ref": "#/components/headers/Location"}}
RETRY = {"Retry-After": {"$ref": "#/components/headers/Retry-After"}}
HEADERS = {
    "X-Request-Id": ("The caller's, if it sent a sane one; it is in the logs.", True),
    "RateLimit": ('`"requests";r=<left>;t=<seconds until it is whole again>`', False),
    "RateLimit-Policy": ('`"requests";q=<a minute>;w=60`', False),
    "Retry-After": ("Seconds.", True),
    "Location": ("Where it is.", True),
}
CALLBACK_HEADERS = {
    "webhook-id": ("The event's id, the same on every retry and redelivery: drop repeats by it.", True),
    "webhook-timestamp": ("Seconds since 1970, fresh on each attempt.", True),
    "webhook-signature": ("Standard Webhooks: `v1,…`, several while a secret is rotated; `v1a,…` is ed25519.", True),
    "Bridge-Attempt": ("From 1.", True),
    "User-Agent": ("`cph-webhook-bridge/<version>`", True),
    "traceparent": ("That of the registration; of the attempt, below it, where the bridge makes traces.", False),
}
TEXTS = {"/docs": "text/html", "/metrics": "text/plain"}
CALLBACK_ANSWERS = {
    "2XX": "Delivered.",
    "410": "Never again: neither this nor others to the same URL.",
    "429": "Tried again, not before `Retry-After`; 408, 425, 5xx as well.",
    "default": "Redirects and other 4xx are tried 3 times.",
}
EVENT_MODELS: Mapping[str, type[BaseModel]] = {
    **dict.fromkeys(EventType, JobEvent),
    EventType.GROUP_FINISHED: GroupEvent,
    OwnEventType.CALLBACK_TEST: TestEvent,
    OwnEventType.DESTINATION_DISABLED: DestinationEvent,
    OwnEventType.DESTINATION_REOPENED: DestinationEvent,
}


def complete(generated: Mapping[str, Any], open_calls: Mapping[str, str]) -> dict[str, Any]:
    """generated: by flask-openapi3. open_calls: paths that need no key, and what they are for."""
    document = deepcopy(dict(generated))
    document["info"]["description"] = DESCRIPTION
    components = document["components"]
    components["securitySchemes"] = SECURITY
    components["headers"] = {name: _header(*about) for name, about in HEADERS.items()}
    components["responses"] = {f"Problem{status}": _problem(status) for status in PROBLEMS}
    _, definitions = models_json_schema(
        [(model, "validation") for model in dict.fromkeys(EVENT_MODELS.values())],
        ref_template="#/components/schemas/{model}",
    )
    components["schemas"] |= definitions["$defs"]
    for path, method, call in _calls(document["paths"]):
        _tell_more(path, method, call)
    for path, summary in open_calls.items():
        document["paths"][path] = {"get": _open_call(path, summary)}
    document["webhooks"] = {name: {"post": _webhook(name, model)} for name, model in EVENT_MODELS.items()}
    return document


def _calls(paths: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, calls in paths.items():
        for method, call in calls.items():
            yield path, method.upper(), call


def _tell_more(path: str, method: str, call: dict[str, Any]) -> None:
    call["security"] = [{SECURITY_SCHEME: [required_scope(method, path)]}]
    call["tags"] = [path.split("/")[2]]
    for parameter in call.get("parameters", []):
        parameter["schema"] = _without_null(parameter["schema"])
    good = {status: answer for status, answer in call["responses"].items() if status.startswith("2")}
    for status, answer in good.items():
        answer["headers"] = REQUEST_ID | RATE
        if status == "201" and path == "/v1/registrations":
            answer["headers"] |= LOCATION
    problems = {status: {"$ref": f"#/components/responses/Problem{status}"} for status in _problems_of(path, call)}
    call["responses"] = good | problems
    given = examples.REQUESTS.get((method, path))
    if given:
        call["requestBody"]["content"]["application/json"]["examples"] = {
            name: {"value": value} for name, value in given.items()
        }


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter of a query or a header is there or not; it cannot be null."""
    kinds = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    rest = {name: value for name, value in schema.items() if name != "anyOf" and (name, value) != ("default", None)}
    return rest | (kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {})


def _problems_of(path: str, call: Mapping[str, Any]) -> Iterator[str]:
    places = {parameter["in"] for parameter in call.get("parameters", [])}
    yield from ("401", "403", "422", "429", "503", "default")
    if "{" in path:
        yield "404"
    if "header" in places:
        yield from ("409", "413")
    if "requestBody" in call:
        yield from ("400", "413", "415")


def _problem(status: str) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": {"$ref": "#/components/schemas/Problem"}}
    if status in examples.PROBLEMS:
        content["example"] = examples.PROBLEMS[status]
    headers = REQUEST_ID | (RETRY if status in ("429", "503") else {})
    return {"description": PROBLEMS[status], "headers": headers, "content": {MEDIA_TYPE: content}}


def _open_call(path: str, summary: str) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    if path == "/":
        answers["302"] = {"description": summary, "headers": REQUEST_ID | LOCATION}
    else:
        kind = TEXTS.get(path, "application/json")
        schema = {"type": "string" if path in TEXTS else "object"}
        answers["200"] = {"description": summary, "headers": REQUEST_ID, "content": {kind: {"schema": schema}}}
    if path == "/readyz":
        answers["503"] = {"$ref": "#/components/responses/Problem503"}
    answers["default"] = {"$ref": "#/components/responses/Problemdefault"}
    name = path[1:] or "root"
    return {"tags": ["open"], "summary": summary, "operationId": name, "security": [], "responses": answers}


def _webhook(name: str, model: type[BaseModel]) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {
        "tags": ["callbacks"],
        "summary": (model.__doc__ or "").splitlines()[0],
        "operationId": f"callback_{name.replace('.', '_')}",
        "security": [],
        "parameters": [
            {"name": header, "in": "header", "required": always, "description": text, "schema": {"type": "string"}}
            for header, (text, always) in CALLBACK_HEADERS.items()
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema, "example": examples.event(name)}},
        },
        "responses": {status: {"description": text} for status, text in CALLBACK_ANSWERS.items()},
    }


def _header(description: str, always: bool) -> dict[str, Any]:
    return {"description": description, "required": always, "schema": {"type": "string"}}
