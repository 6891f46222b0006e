"""The OpenAPI document: valid, and true."""

import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from tests.api.calling import Api


@pytest.fixture
def document(api: Api) -> Any:
    return api.get("/openapi.json", key=None)


def test_the_document_is_valid_openapi_3_1(document: Any) -> None:
    assert document["openapi"].startswith("3.1.")
    validate(document)


def test_the_document_names_every_call_under_v1_and_no_other(api: Api, document: Any) -> None:
    served = {
        (re.sub(r"<(\w+)>", r"{\1}", rule.rule), method)
        for rule in api.app.url_map.iter_rules()
        if rule.rule.startswith("/v1/")
        for method in (rule.methods or set()) - {"HEAD"}
    }
    assert served == {(path, method.upper()) for path, calls in document["paths"].items() for method in calls}


def test_every_call_needs_a_key_and_may_end_in_a_problem(document: Any) -> None:
    for calls in document["paths"].values():
        for call in calls.values():
            assert call["security"] == [{"ApiKey": []}]
            assert "application/problem+json" in call["responses"]["default"]["content"]
    assert document["components"]["securitySchemes"]["ApiKey"] == {"type": "http", "scheme": "bearer"}


def test_headers_that_are_read_are_documented(document: Any) -> None:
    parameters = document["paths"]["/v1/registrations"]["post"]["parameters"]
    assert {(parameter["name"], parameter["in"]) for parameter in parameters} == {
        ("Idempotency-Key", "header"),
        ("traceparent", "header"),
    }


@pytest.mark.parametrize(
    ("method", "path", "status", "details"),
    [
        ("POST", "/v1/registrations", "201", {"json": {"job_id": "a", "callback_url": "http://127.0.0.1:9/"}}),
        ("GET", "/v1/registrations", "200", {}),
        ("GET", "/v1/deliveries", "200", {}),
        ("POST", "/v1/registrations", "default", {"json": {}}),
    ],
)
def test_answers_are_what_the_document_says(
    api: Api, document: Any, method: str, path: str, status: str, details: Any
) -> None:
    api.registered()
    [content] = document["paths"][path][method.lower()]["responses"][status]["content"].values()
    schema = {**content["schema"], "components": document["components"]}
    Draft202012Validator(schema).validate(api.call(method, path, **details).json)
