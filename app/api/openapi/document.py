"""Completes the generated OpenAPI document with scopes, errors, headers, examples and callbacks."""

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
Notifies a URL when Huawei Cloud Phone (CPH) jobs end. Every call under `/v1` needs a key with the scope listed
with the call; `admin` includes all scopes. Errors are RFC 9457 problems. Any POST may carry an `Idempotency-Key`.
"""
SECURITY = {
    SECURITY_SCHEME: {
        "type": "http",
        "scheme": "bearer",
        "description": "`Authorization: Bearer <api key>`. A key belongs to a tenant, and has scopes.",
    }
}
PROBLEMS = {
    "400": "Not valid JSON (RFC 8259) in UTF-8, a duplicate key, or nested deeper than 16 levels.",
    "401": "No key, or an invalid one.",
    "403": "The key lacks the scope.",
    "404": "Does not exist, or is another tenant's.",
    "409": "A request with this Idempotency-Key is under way, or the resource's state does not allow the call.",
    "408": "The body did not come within 10 s.",
    "413": "The body is larger than 256 KiB.",
    "415": "Not application/json in UTF-8, or compressed.",
    "422": "A field is invalid: `errors` names it, `hint` says how to correct it.",
    "429": "A quota is reached; retry after `Retry-After`.",
    "503": "Redis, enough of its replicas, or the JWT issuer is unavailable, Redis is nearly full, or too many"
    " requests wait; retry after `Retry-After`.",
    "default": "Any other problem.",
}
REQUEST_ID = {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}}
RATE_LIMIT = {name: {"$ref": f"#/components/headers/{name}"} for name in ("RateLimit", "RateLimit-Policy")}
LOCATION = {"Location": {"$ref": "#/components/headers/Location"}}
RETRY_AFTER = {"Retry-After": {"$ref": "#/components/headers/Retry-After"}}
HEADERS = {
    "X-Request-Id": ("The caller's, if valid, else generated; also in the logs.", True),
    "RateLimit": ('`"requests";r=<left>;t=<seconds until the reset>`', False),
    "RateLimit-Policy": ('`"requests";q=<requests per minute>;w=60`', False),
    "Retry-After": ("Seconds.", True),
    "Location": ("URL of the new resource, or of the redirect.", True),
}
CALLBACK_HEADERS = {
    "webhook-id": ("The event's id, the same on every retry and redelivery: use it to discard duplicates.", True),
    "webhook-timestamp": ("Unix time in seconds, new on each attempt.", True),
    "webhook-signature": ("Standard Webhooks: `v1,…`, several during a secret rotation; `v1a,…` is ed25519.", True),
    "Bridge-Attempt": ("Number of the attempt, from 1.", True),
    "User-Agent": ("`cph-webhook-bridge/<version>`", True),
    "traceparent": ("The registration's; if the bridge records traces, the attempt's, as its child.", False),
}
TEXT_MEDIA_TYPES = {"/docs": "text/html", "/metrics": "text/plain"}
CALLBACK_ANSWERS = {
    "2XX": "Delivered.",
    "410": "Neither this event nor others are sent to this URL again.",
    "429": "Retried, not before `Retry-After`; so are 408, 425 and 5xx.",
    "default": "Redirects and other 4xx: at most 3 attempts.",
}
EVENT_MODELS: Mapping[str, type[BaseModel]] = {
    **dict.fromkeys(EventType, JobEvent),
    EventType.GROUP_FINISHED: GroupEvent,
    OwnEventType.CALLBACK_TEST: TestEvent,
    OwnEventType.DESTINATION_DISABLED: DestinationEvent,
    OwnEventType.DESTINATION_REOPENED: DestinationEvent,
}


def complete(generated: Mapping[str, Any], unauthenticated_calls: Mapping[str, str]) -> dict[str, Any]:
    """Returns the document. generated: by flask-openapi3. unauthenticated_calls: summaries by path."""
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
        _complete_call(path, method, call)
    for path, summary in unauthenticated_calls.items():
        document["paths"][path] = {"get": _unauthenticated_call(path, summary)}
    document["webhooks"] = {name: {"post": _webhook(name, model)} for name, model in EVENT_MODELS.items()}
    return document


def _calls(paths: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, calls in paths.items():
        for method, call in calls.items():
            yield path, method.upper(), call


def _complete_call(path: str, method: str, call: dict[str, Any]) -> None:
    call["security"] = [{SECURITY_SCHEME: [required_scope(method, path)]}]
    call["tags"] = [path.split("/")[2]]
    for parameter in call.get("parameters", []):
        parameter["schema"] = _without_null(parameter["schema"])
    successes = {status: answer for status, answer in call["responses"].items() if status.startswith("2")}
    for status, answer in successes.items():
        answer["headers"] = REQUEST_ID | RATE_LIMIT
        if status == "201" and path == "/v1/registrations":
            answer["headers"] |= LOCATION
    problems = {status: {"$ref": f"#/components/responses/Problem{status}"} for status in _problems_of(path, call)}
    call["responses"] = successes | problems
    request_examples = examples.REQUESTS.get((method, path))
    if request_examples:
        call["requestBody"]["content"]["application/json"]["examples"] = {
            name: {"value": value} for name, value in request_examples.items()
        }


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Removes null from a schema: a query parameter or header can be absent, but not null."""
    types = [each for each in schema.get("anyOf", []) if each != {"type": "null"}]
    rest = {name: value for name, value in schema.items() if name != "anyOf" and (name, value) != ("default", None)}
    return rest | (types[0] if len(types) == 1 else {"anyOf": types} if types else {})


def _problems_of(path: str, call: Mapping[str, Any]) -> Iterator[str]:
    locations = {parameter["in"] for parameter in call.get("parameters", [])}
    yield from ("401", "403", "422", "429", "503", "default")
    if "{" in path:
        yield "404"
    if "header" in locations:
        yield from ("409", "413")
    if "requestBody" in call:
        yield from ("400", "408", "413", "415")


def _problem(status: str) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": {"$ref": "#/components/schemas/Problem"}}
    if status in examples.PROBLEMS:
        content["example"] = examples.PROBLEMS[status]
    headers = REQUEST_ID | (RETRY_AFTER if status in ("429", "503") else {})
    return {"description": PROBLEMS[status], "headers": headers, "content": {MEDIA_TYPE: content}}


def _unauthenticated_call(path: str, summary: str) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    if path == "/":
        answers["302"] = {"description": summary, "headers": REQUEST_ID | LOCATION}
    else:
        media_type = TEXT_MEDIA_TYPES.get(path, "application/json")
        schema = {"type": "string" if path in TEXT_MEDIA_TYPES else "object"}
        answers["200"] = {"description": summary, "headers": REQUEST_ID, "content": {media_type: {"schema": schema}}}
    if path == "/readyz":
        answers["503"] = {"$ref": "#/components/responses/Problem503"}
    answers["default"] = {"$ref": "#/components/responses/Problemdefault"}
    name = path[1:].partition(".")[0] or "root"
    return {"tags": ["open"], "summary": summary, "operationId": f"get_{name}", "security": [], "responses": answers}


def _webhook(name: str, model: type[BaseModel]) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {
        "tags": ["callbacks"],
        "summary": (model.__doc__ or "").splitlines()[0],
        "operationId": f"on_{name.replace('.', '_')}",
        "security": [],
        "parameters": [
            {"name": header, "in": "header", "required": required, "description": text, "schema": {"type": "string"}}
            for header, (text, required) in CALLBACK_HEADERS.items()
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema, "example": examples.event(name)}},
        },
        "responses": {status: {"description": text} for status, text in CALLBACK_ANSWERS.items()},
    }


def _header(description: str, required: bool) -> dict[str, Any]:
    return {"description": description, "required": required, "schema": {"type": "string"}}
