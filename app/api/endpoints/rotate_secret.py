"""/v1/registrations/{id}/rotate-secret: replaces the secret; earlier ones also sign until the overlap ends."""

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

    overlap_s: int = Field(OVERLAP_S, ge=0, le=604_800, strict=True, description="How long earlier secrets also sign.")
    secret: GivenSecret | None = None


class Rotated(BaseModel):
    id: str
    secret: str = Field(description="Shown only once.")
    earlier_until: Moment = Field(description="Until then the previous secret also signs.")


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
        """Replaces a registration's secret."""
        now = from_ms(to_ms(self._clock()))  # in milliseconds, as it is stored
        overlap = timedelta(seconds=body.overlap_s)
        known = self._registrations.get(tenant(), path.id)
        if known is None:
            raise NoSuchId
        registration, _ = known
        secret = callback_options.replacement_secret(self._config, registration, body.secret)
        if is_bot(registration.destination):
            overlap = timedelta()  # the bot's service accepts only one secret
        answer = Rotated(id=path.id, secret=secret, earlier_until=now + overlap).model_dump_json()
        changed = self._registrations.change(
            tenant(), path.id, lambda current: current.rotated(secret, now, overlap), header.of(answer)
        )
        if changed is None:
            raise NoSuchId
        return json_answer(replayed_response(changed) if isinstance(changed, Repeated) else answer)
