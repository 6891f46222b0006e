"""The Flask application."""

from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import Any

from flask_openapi3.models.info import Info
from flask_openapi3.models.server import Server
from flask_openapi3.openapi import OpenAPI
from werkzeug.middleware.proxy_fix import ProxyFix

from app.api.auth.authentication import Access, Authenticator
from app.api.auth.jwt_tokens import jwt_authenticator
from app.api.endpoints.api_keys import KeyViews
from app.api.endpoints.callback_tests import CallbackTestViews
from app.api.endpoints.deliveries import DeliveryViews
from app.api.endpoints.destinations import DestinationViews
from app.api.endpoints.events import EventViews
from app.api.endpoints.health import HealthViews
from app.api.endpoints.jobs import JobViews
from app.api.endpoints.projects import ProjectViews
from app.api.endpoints.public_keys import PublicKeyViews
from app.api.endpoints.registrations import RegistrationViews
from app.api.endpoints.rotate_secret import RotationViews
from app.api.input.blueprint import DeliveryConverter
from app.api.input.json_body import MAX_READ_BYTES
from app.api.middleware import errors, request_log, strict_urls
from app.api.middleware.long_poll_limit import WaitSlots
from app.api.middleware.rate_limit import RequestRateLimit
from app.api.openapi import document
from app.api.openapi.swagger_ui import Docs
from app.bootstrap.runtime import Runtime
from app.observability.exposition import METRICS, metrics_page
from app.version import VERSION

PAGES_AT_ONCE = 5  # of the documentation, in each process; WaitSlots keeps one of them back
UNAUTHENTICATED_CALLS = {
    "/": "Redirects to `/docs`.",
    "/healthz": "Liveness probe: the process runs.",
    "/readyz": "Readiness probe: Redis answers and meets the bridge's requirements.",
    METRICS: "Metrics in Prometheus format.",
    "/openapi.json": "This document.",
    "/docs": "This document in Swagger UI.",
}


class OpenApiApp(OpenAPI):
    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Returns func: no view is asynchronous, and Flask would check that again on every request."""
        return func


def create_app(runtime: Runtime, stopping: Callable[[], bool] = lambda: False) -> OpenAPI:
    """Builds the application; connects to Redis only on requests.

    stopping: returns True once the process is shutting down, so that waiting requests end.
    """
    app = OpenApiApp(
        __name__,
        info=Info(title="cph-webhook-bridge", version=VERSION),
        servers=[Server(url="/", description="The bridge that served this document.")],
        validation_error_model=errors.Problem,
        validation_error_status="422",
        doc_ui=False,
        static_folder=None,
    )
    app.config.update(MAX_CONTENT_LENGTH=MAX_READ_BYTES, PROVIDE_AUTOMATIC_OPTIONS=False)
    app.url_map.merge_slashes = False
    app.url_map.converters["delivery"] = DeliveryConverter
    if runtime.settings.api_proxies:
        hops = runtime.settings.api_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=0)  # type: ignore[method-assign] # as Flask documents
    settings, stores, config = runtime.settings, runtime.stores, runtime.config
    request_log.register(app, runtime.metric_registry, runtime.tracing)
    strict_urls.register(app)
    authenticator = Authenticator(stores.api_keys, jwt_authenticator(settings, stores.clock.world_time))
    app.before_request(Access(authenticator.principal, stores.readiness.check_first).check)
    RequestRateLimit(stores.request_quota, config.quotas_of).register(app)
    errors.register(app)
    metrics = None if settings.metrics_bind else lambda: metrics_page(runtime.metrics)
    HealthViews(stores.readiness, metrics).register(app)
    wait_slots = WaitSlots(settings.api_streams, stopping)
    callback_tests = CallbackTestViews(
        stores,
        config,
        runtime.callback_client,
        deadline=timedelta(seconds=settings.attempt_deadline_s),
        threads=settings.api_threads,
    )
    for views in (
        RegistrationViews(stores, config, runtime.metric_registry, wait_slots),
        RotationViews(stores, config),
        DeliveryViews(stores, settings.redeliver_rate),
        DestinationViews(stores, runtime.destinations),
        EventViews(stores.events, wait_slots),
        JobViews(stores.jobs, config),
        KeyViews(stores),
        callback_tests,
        ProjectViews(stores, config, settings.cph_rate),
        PublicKeyViews(runtime.signing_keys),
    ):
        app.register_api(views.routes())
    other_port = {METRICS} if settings.metrics_bind else set()
    unauthenticated_calls = {path: summary for path, summary in UNAUTHENTICATED_CALLS.items() if path not in other_port}
    whole_document = cache(lambda: document.complete(app.api_doc, unauthenticated_calls))
    Docs(whole_document, WaitSlots(PAGES_AT_ONCE, stopping)).register(app)
    return app
