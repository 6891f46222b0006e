"""/v1/registrations: taken, shown, cancelled."""

import json
import secrets
import time
from datetime import timedelta
from hashlib import sha256

from flask import Response, request
from werkzeug.exceptions import NotFound

from app.api.access import tenant
from app.api.registration_models import (
    RegistrationCreated,
    RegistrationHeaders,
    RegistrationPage,
    RegistrationPath,
    RegistrationQuery,
    RegistrationRequest,
    RegistrationView,
)
from app.api.routes import Routes, json_answer
from app.domain import callback_url
from app.domain.errors import InvalidField
from app.domain.ids import RANDOM_BITS, new_id
from app.domain.job import JobState
from app.domain.registration import Progress, Registration, RegistrationState
from app.domain.signature import new_secret
from app.domain.times import from_ms, to_ms
from app.runtime import Runtime
from app.store.registrations import Idempotency

SECRET_BYTES = 32
LOOK_EVERY_S = 0.05


class RegistrationViews:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._registrations = runtime.registrations

    def routes(self) -> Routes:
        routes = Routes("registrations")
        routes.post("/registrations", responses={201: RegistrationCreated})(self.register)
        routes.get("/registrations", responses={200: RegistrationPage})(self.list)
        routes.get("/registrations/<id>", responses={200: RegistrationView})(self.show)
        routes.delete("/registrations/<id>", responses={204: None})(self.cancel)
        return routes

    def register(self, header: RegistrationHeaders, body: RegistrationRequest) -> Response:
        """Tell a URL when jobs end."""
        registration = self._registration(header, body)
        progress = Progress(
            state=RegistrationState.WATCHING,
            jobs=dict.fromkeys(registration.job_ids, JobState.PENDING),
            pending=0,
            delivered=0,
            dead=0,
        )
        # Before it is taken: with an Idempotency-Key the answer is kept along with it.
        answer = RegistrationCreated.of(registration, progress, secret=registration.secret).model_dump_json()
        earlier = self._registrations.add(registration, _idempotency(header.idempotency_key, answer))
        if earlier is None:
            return _created(registration.id, answer)
        if earlier.answer is None:
            raise InvalidField("/headers/Idempotency-Key", "was used with another body within the last 24 hours")
        return _created(json.loads(earlier.answer)["id"], earlier.answer)

    def list(self, query: RegistrationQuery) -> Response:
        """Registrations, newest first."""
        found, cursor = self._registrations.page(tenant(), limit=query.limit, cursor=query.cursor, wanted=query.wants)
        return json_answer(RegistrationPage.of(found, cursor).model_dump_json())

    def show(self, path: RegistrationPath) -> Response:
        """One registration."""
        known = self._registrations.get(tenant(), path.id)
        if known is None:
            raise NotFound
        return json_answer(RegistrationView.of(*known).model_dump_json())

    def cancel(self, path: RegistrationPath) -> Response:
        """Cancel a registration; once this is answered, no attempt starts for it, and none is under way."""
        until = self._registrations.cancel(tenant(), path.id)
        if until is None:
            raise NotFound
        while (now := self._runtime.clock()) < until and self._registrations.under_way(path.id, now):
            time.sleep(LOOK_EVERY_S)
        return Response(status=204)

    def _registration(self, header: RegistrationHeaders, body: RegistrationRequest) -> Registration:
        # To the millisecond, as it is kept: it must not look different later.
        now = from_ms(to_ms(self._runtime.clock()))
        url = callback_url.parse(body.callback_url, self._runtime.address_policy)
        return Registration(
            id=new_id("reg", to_ms(now), secrets.randbits(RANDOM_BITS)),
            tenant=tenant(),
            project=self._project(body.project),
            job_ids=_job_ids(body),
            callback_url=url.raw,
            destination=url.origin,
            secret=body.secret or new_secret(secrets.token_bytes(SECRET_BYTES)),
            events=tuple(body.events),
            metadata=body.metadata,
            created_at=now,
            deadline_at=now + timedelta(seconds=body.deadline_s),
            traceparent=header.traceparent,
        )

    def _project(self, name: str | None) -> str:
        projects = self._runtime.projects
        if not projects:
            hint = "the operator sets BRIDGE_CPH_PROJECT_ID"
            raise InvalidField("/project", "no CPH project is configured", hint)
        if name is None and len(projects) == 1:
            return projects[0]
        if name in projects:
            return name
        raise InvalidField("/project", "must name a configured CPH project", f"one of: {', '.join(projects)}")


def _job_ids(body: RegistrationRequest) -> tuple[str, ...]:
    if (body.job_id is None) == (body.job_ids is None):
        raise InvalidField("/job_id", "exactly one of job_id and job_ids must be given")
    return (body.job_id,) if body.job_id else tuple(dict.fromkeys(body.job_ids or ()))


def _idempotency(key: str | None, answer: str) -> Idempotency | None:
    if key is None:
        return None
    return Idempotency(sha256(key.encode()).hexdigest(), sha256(request.get_data()).hexdigest(), answer)


def _created(id: str, answer: str) -> Response:
    return json_answer(answer, 201, {"Location": f"/v1/registrations/{id}"})
