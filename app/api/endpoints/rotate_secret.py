"""/v1/registrations/{id}/rotate-secret: another secret, while the earlier ones still sign for a while."""

from datetime import timedelta

from flask import Response
from pydantic import BaseModel, ConfigDict, Field

from app.api.auth.authentication import tenant
from app.api.endpoints import callback_options
from app.api.input.blueprint import Routes, json_answer
from app.api.middleware.errors import NoSuchId
from app.api.middleware.idempotency import IdempotencyHeader, replayed_response
from app.api.schemas.fields import GivenSecret, Moment
from app.api.schemas.registrations import RegistrationPath
from app.bootstrap.stores import Stores
from app.config.live_config import LiveConfig
from app.domain.destination import is_bot
from app.domain.times import from_ms, to_ms
from app.store.idempotency import Repeated

OVERLAP_S = 86_400


class RotationRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    overlap_s: int = Field(OVERLAP_S, ge=0, le=604_800, strict=True, description="How long earlier secrets still sign.")
    secret: GivenSecret | None = None


class Rotated(BaseModel):
    id: str
    secret: str = Field(description="Shown this once.")
    earlier_until: Moment = Field(description="Until then the secret before it signs as well.")


class RotationViews:
    def __init__(self, stores: Stores, config: LiveConfig) -> None:
        self._registrations = stores.registrations
        self._clock = stores.clock
        self._config = config

    def routes(self) -> Routes:
        routes = Routes("rotation")
        routes.post("/registrations/<id>/rotate-secret", responses={200: Rotated})(self.rotate_registration_secret)
        return routes

    def rotate_registration_secret(
        self, path: RegistrationPath, header: IdempotencyHeader, body: RotationRequest
    ) -> Response:
        """Give a registration another secret."""
        now = from_ms(to_ms(self._clock()))  # as it is kept
        overlap = timedelta(seconds=body.overlap_s)
        known = self._registrations.get(tenant(), path.id)
        if known is None:
            raise NoSuchId
        secret = callback_options.replacement_secret(self._config, known[0], body.secret)
        if is_bot(known[0].destination):
            overlap = timedelta()  # its service knows one, and would take no other
        answer = Rotated(id=path.id, secret=secret, earlier_until=now + overlap).model_dump_json()
        done = self._registrations.change(
            tenant(), path.id, lambda registration: registration.rotated(secret, now, overlap), header.of(answer)
        )
        if done is None:
            raise NoSuchId
        return json_answer(replayed_response(done) if isinstance(done, Repeated) else answer)
