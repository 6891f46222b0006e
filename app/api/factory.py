"""The Flask application."""

import json

from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI

from app import VERSION
from app.api import problems, request_log
from app.api.access import Access
from app.api.callbacks import CallbackViews
from app.api.deliveries import DeliveryViews
from app.api.destinations import DestinationViews
from app.api.health import Health
from app.api.json_body import READ_AT_MOST
from app.api.projects import ProjectViews
from app.api.public_keys import PublicKeyViews
from app.api.registrations import RegistrationViews
from app.api.rotation import RotationViews
from app.api.routes import SECURITY_SCHEME, json_answer
from app.runtime import Runtime


def create_app(runtime: Runtime) -> OpenAPI:
    """Talks to Redis only when it is asked something."""
    app = OpenAPI(
        __name__,
        info=Info(title="cph-webhook-bridge", version=VERSION),
        security_schemes={SECURITY_SCHEME: {"type": "http", "scheme": "bearer"}},
        validation_error_model=problems.Problem,
        validation_error_status="default",
        doc_ui=False,
        static_folder=None,
    )
    app.config.update(MAX_CONTENT_LENGTH=READ_AT_MOST, PROVIDE_AUTOMATIC_OPTIONS=False)
    app.url_map.merge_slashes = False
    request_log.register(app, runtime.counts)
    app.before_request(Access(runtime.api_keys.principal).check)
    problems.register(app)
    Health(runtime).register(app)
    app.register_api(RegistrationViews(runtime).routes())
    app.register_api(RotationViews(runtime).routes())
    app.register_api(DeliveryViews(runtime).routes())
    app.register_api(DestinationViews(runtime).routes())
    app.register_api(CallbackViews(runtime).routes())
    app.register_api(ProjectViews(runtime).routes())
    app.register_api(PublicKeyViews(runtime.signing_keys).routes())
    app.add_url_rule("/openapi.json", "openapi", lambda: json_answer(json.dumps(app.api_doc)))
    return app
