"""The OpenAPI document is valid and matches the API; /docs shows it."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from app.domain.event import EventType, OwnEventType
from tests.support.api_client import ApiCaller, problem

OPEN = {"/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"}


@pytest.fixture
def document(api: ApiCaller) -> Any:
    return api.get("/openapi.json", key=None)


def validator(document: Any, schema: Any) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": document["components"]})


def calls(document: Any) -> Iterator[tuple[str, str, Any]]:
    for path, methods in document["paths"].items():
        for method, call in methods.items():
            yield path, method.upper(), call


def test_the_document_is_valid_openapi_3_1(document: Any) -> None:
    assert document["openapi"].startswith("3.1.")
    validate(document)


def test_the_document_names_every_call_and_no_other(api: ApiCaller, document: Any) -> None:
    served = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method)
        for rule in api.app.url_map.iter_rules()
        if rule.rule != "/docs/<name>"  # the page's own files
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert served == {(path, method) for path, method, _ in calls(document)}


def test_operation_ids_are_a_verb_and_a_noun(document: Any) -> None:
    """Client generators make function names of them."""
    ids = [call["operationId"] for calls in document["paths"].values() for call in calls.values()]
    assert sorted(ids) == sorted(
        [
            *("create_registration", "list_registrations", "get_registration", "cancel_registration"),
            *("rotate_registration_secret", "get_job", "list_events", "stream_events", "test_callback"),
            *("list_deliveries", "get_delivery", "redeliver", "redeliver_dead"),
            *("list_destinations", "get_destination", "pause_destination", "resume_destination", "discard_deliveries"),
            *("list_projects", "list_public_keys", "create_key", "list_keys", "revoke_key", "rotate_key"),
            *("get_root", "get_docs", "get_healthz", "get_metrics", "get_openapi", "get_readyz"),
        ]
    )


def test_clients_can_be_generated_with_real_enums_and_a_server(document: Any) -> None:
    assert document["servers"] == [{"url": "/", "description": "The bridge that served this document."}]
    schemas = document["components"]["schemas"]
    assert all(branch["type"] == "string" for branch in schemas["RegistrationRequest"]["properties"]["format"]["anyOf"])
    kind = schemas["DeliveryView"]["properties"]["type"]
    assert kind["type"] == "string"
    assert {"job.succeeded", "destination.disabled"} < set(kind["enum"])


def test_every_call_under_v1_needs_a_key_and_says_how_it_may_end(document: Any) -> None:
    for path, method, call in calls(document):
        if path in OPEN:
            assert call["security"] == []
            continue
        [[scope]] = [requirement["ApiKey"] for requirement in call["security"]]
        assert scope in document["components"]["schemas"]["Scope"]["enum"], (path, method)
        assert {"401", "403", "422", "429", "503", "default"} <= call["responses"].keys()
        assert ("404" in call["responses"]) == ("{" in path)
        assert ("415" in call["responses"]) == ("requestBody" in call)
    for name, answer in document["components"]["responses"].items():
        assert list(answer["content"]) == ["application/problem+json"], name


def test_every_post_takes_an_idempotency_key(document: Any) -> None:
    for path, method, call in calls(document):
        names = {parameter["name"] for parameter in call.get("parameters", [])}
        assert ("Idempotency-Key" in names) == (method == "POST"), (path, method)


def test_headers_that_are_read_are_documented(document: Any) -> None:
    parameters = document["paths"]["/v1/registrations"]["post"]["parameters"]
    assert {(parameter["name"], parameter["in"]) for parameter in parameters} == {
        ("Idempotency-Key", "header"),
        ("traceparent", "header"),
    }


def test_examples_are_what_their_schemas_say(document: Any) -> None:
    bodies = 0
    for section in (document["paths"], document["webhooks"]):
        for path, method, call in calls({"paths": section}):
            for content in call.get("requestBody", {}).get("content", {}).values():
                examples = [each["value"] for each in content.get("examples", {}).values()] or [content["example"]]
                for example in examples:
                    validator(document, content["schema"]).validate(example)
                    bodies += 1
                assert examples, (path, method)
    assert bodies > 15
    for answer in document["components"]["responses"].values():
        [content] = answer["content"].values()
        if "example" in content:
            validator(document, content["schema"]).validate(content["example"])


def test_examples_of_requests_are_accepted(api: ApiCaller, document: Any) -> None:
    examples = document["paths"]["/v1/registrations"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    for name, example in examples.items():
        body = example["value"] | {"callback_url": "http://127.0.0.1:9/hooks/cph"}
        assert api.call("POST", "/v1/registrations", json=body).status_code == 201, name


def test_every_event_is_a_webhook_with_its_headers(document: Any) -> None:
    assert document["webhooks"].keys() == {*EventType, *OwnEventType}
    for name, webhook in document["webhooks"].items():
        call = webhook["post"]
        assert {"webhook-id", "webhook-timestamp", "webhook-signature", "Bridge-Attempt", "traceparent"} <= {
            parameter["name"] for parameter in call["parameters"]
        }
        assert call["requestBody"]["content"]["application/json"]["example"]["type"] == name


def test_events_as_they_are_sent_are_as_the_document_says(api: ApiCaller, document: Any) -> None:
    refused = {"request_id": "r", "jobs": [{"phone_id": "p", "error_code": "CPS.0004"}]}
    api.registered(job_id=None, submission=refused, notify="both", verify=True)
    page = api.get("/v1/events")
    assert {event["type"] for event in page["items"]} == {"job.failed", "group.finished", "callback.test"}
    [content] = document["paths"]["/v1/events"]["get"]["responses"]["200"]["content"].values()
    validator(document, content["schema"]).validate(page)


@pytest.mark.parametrize(
    ("method", "path", "status", "details"),
    [
        ("POST", "/v1/registrations", "201", {"json": {"job_id": "a", "callback_url": "http://127.0.0.1:9/"}}),
        ("GET", "/v1/registrations", "200", {}),
        ("GET", "/v1/deliveries", "200", {}),
        ("GET", "/v1/destinations", "200", {}),
        ("GET", "/v1/projects", "200", {}),
        ("GET", "/v1/keys", "200", {}),
        ("POST", "/v1/keys", "201", {"json": {}}),
        ("POST", "/v1/registrations", "422", {"json": {}}),
    ],
)
def test_answers_are_what_the_document_says(
    api: ApiCaller, document: Any, method: str, path: str, status: str, details: Any
) -> None:
    api.registered()
    documented = document["paths"][path][method.lower()]["responses"][status]
    if "$ref" in documented:
        documented = document["components"]["responses"][documented["$ref"].rpartition("/")[2]]
    [content] = documented["content"].values()
    answer = api.call(method, path, **details)
    assert str(answer.status_code) == status
    validator(document, content["schema"]).validate(answer.json)
    for header, reference in documented["headers"].items():
        required = document["components"]["headers"][reference["$ref"].rpartition("/")[2]]["required"]
        assert header in answer.headers or not required


# /docs


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_root_leads_to_the_page(api: ApiCaller, method: str) -> None:
    answer = api.call(method, "/", key=None)
    assert answer.status_code == 302
    # Relative, so that it works behind any host name and below a proxy's path.
    assert answer.headers["Location"] == "docs"
    assert not answer.data


def test_the_page_needs_nothing_from_elsewhere(api: ApiCaller) -> None:
    page = api.call("GET", "/docs", key=None)
    assert page.status_code == 200
    assert page.mimetype == "text/html"
    sources = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert sources
    for source in sources:
        answer = api.call("GET", f"/{source}", key=None)
        assert answer.status_code == 200, source
        assert answer.data


def test_the_page_is_under_a_strict_policy(api: ApiCaller) -> None:
    for path in ("/docs", "/docs/start.js", "/docs/swagger-ui-bundle.js"):
        headers = api.call("GET", path, key=None).headers
        policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert headers["X-Content-Type-Options"] == "nosniff"
    page = api.call("GET", "/docs", key=None).text
    assert not re.search(r"<script(?![^>]*\bsrc=)|\bstyle=|<style|\bon\w+=", page)


@pytest.mark.parametrize("name", ["x", "start.js/", "..", "swagger.svg", "%2e%2e", "start.js%00"])
def test_no_other_file_is_served(api: ApiCaller, name: str) -> None:
    problem(api.call("GET", f"/docs/{name}", key=None), 404)
