"""/v1/registrations/{id}/rotate-secret: another secret, while the earlier ones still sign for a while."""

from datetime import timedelta

from flask import Response
from pydantic import BaseModel, ConfigDict, Field

from app.api.auth.authentication import tenant
from app.api.endpoints import callback_options
from app.api.input.blueprint import Routes, json_answer
from app.api.middleware.errors import NoSuchId
from app.api.middleware.idempotency import IdempotencyHeader, first_answer
from app.api.schemas.fields import GivenSecret, Moment
from app.api.schemas.registrations import RegistrationPath
from app.bootstrap.runtime import Runtime
from app.domain import callback_url
from app.domain.destination import is_bot
from app.domain.errors import InvalidField
from app.domain.registration import Registration
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
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def routes(self) -> Routes:
        routes = Routes("rotation")
        routes.post("/registrations/<id>/rotate-secret", responses={200: Rotated})(self.rotate)
        return routes

    def rotate(self, path: RegistrationPath, header: IdempotencyHeader, body: RotationRequest) -> Response:
        """Give a registration another secret."""
        now = from_ms(to_ms(self._runtime.clock()))  # as it is kept
        overlap = timedelta(seconds=body.overlap_s)
        known = self._runtime.registrations.get(tenant(), path.id)
        if known is None:
            raise NoSuchId
        secret = self._new_secret(known[0], body.secret)
        if is_bot(known[0].destination):
            overlap = timedelta()  # its service knows one, and would take no other
        answer = Rotated(id=path.id, secret=secret, earlier_until=now + overlap).model_dump_json()
        done = self._runtime.registrations.change(
            tenant(), path.id, lambda registration: registration.rotated(secret, now, overlap), header.of(answer)
        )
        if done is None:
            raise NoSuchId
        return json_answer(first_answer(done) if isinstance(done, Repeated) else answer)

    def _new_secret(self, registration: Registration, given: str | None) -> str:
        form = self._runtime.catalogue.find(registration.format)
        if form is None or form.machine:
            return callback_options.machine_secret(given)
        if given is None:
            raise InvalidField(
                callback_options.SECRET, "is missing: it is made where the bot is", "give the bot's new one"
            )
        url = callback_url.parse(registration.callback_url, self._runtime.address_policy, tenant())
        return callback_options.checked_secret(form, url, given)
