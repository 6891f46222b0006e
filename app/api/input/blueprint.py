"""Registers views whose parameters are models: validated before the view is called, and in the OpenAPI document."""

from collections.abc import Callable
from functools import cache, wraps
from typing import Any

from flask import Response
from flask.globals import request_ctx
from flask_openapi3.blueprint import APIBlueprint
from pydantic import BaseModel, ConfigDict
from werkzeug.datastructures import Headers
from werkzeug.routing import BaseConverter

from app.api.input.json_body import read_body
from app.api.input.validation import InvalidInput, validated
from app.api.middleware import strict_urls
from app.api.middleware.errors import NoSuchId

Parameters = type[BaseModel] | None
View = Callable[..., Response]


class DeliveryConverter(BaseConverter):
    """Matches delivery ids only, so that /v1/deliveries/redeliver is a route of its own."""

    regex = "dlv_[^/]+"


class NoParameters(BaseModel):
    """The query of a call without query parameters."""

    model_config = ConfigDict(extra="forbid")


class Routes(APIBlueprint):
    """Validates parameters itself, because flask-openapi3 rebuilds their JSON schema on every request."""

    def __init__(self, name: str) -> None:
        super().__init__(name, __name__, url_prefix="/v1", operation_id_callback=_operation_id)

    @staticmethod
    def create_view_func(  # type: ignore[override] # flask-openapi3 calls it with positional arguments
        func: View, *models: Parameters, **_: Any
    ) -> View:
        header, _cookie, path, query, _form, body, _raw = models

        @wraps(func)
        def view(**in_path: str) -> Response:
            request = request_ctx.request
            values: dict[str, BaseModel] = {}
            if path:
                values["path"] = _from_path(path, in_path)
            in_query = strict_urls.query(request)
            if query:
                values["query"] = validated(query, in_query, "/query")
            elif in_query:
                validated(NoParameters, in_query, "/query")
            if header:
                values["header"] = _from_headers(header, request.headers)
            if body:
                values["body"] = validated(body, read_body(request))
            return func(**values)

        return view


def _operation_id(*, name: str, path: str, method: str) -> str:  # noqa: ARG001 - flask-openapi3 passes them by name
    """Returns the view's name, such as `create_registration`."""
    return name


def _from_path(model: type[BaseModel], values: dict[str, str]) -> BaseModel:
    """A malformed id is answered like an unknown one (404)."""
    try:
        return validated(model, values)
    except InvalidInput:
        raise NoSuchId from None


@cache
def _names(model: type[BaseModel]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in model.model_fields.items())


def _from_headers(model: type[BaseModel], headers: Headers) -> BaseModel:
    given = {name: headers[name] for name in _names(model) if name in headers}
    return validated(model, given, "/headers")


def json_answer(body: str, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status, headers, mimetype="application/json")
