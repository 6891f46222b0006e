"""/v1/registrations: creates, shows and cancels registrations."""

import json
import logging
import secrets
import time
from datetime import datetime, timedelta

from flask import Response, g

from app import logs
from app.api.auth.authentication import credential_check, tenant
from app.api.endpoints import callback_options
from app.api.endpoints.callback_options import CallbackOptions
from app.api.input.blueprint import Routes, json_answer
from app.api.middleware.errors import NoSuchId
from app.api.middleware.idempotency import replayed_response
from app.api.middleware.long_poll_limit import WaitSlots
from app.api.schemas.registrations import (
    RegistrationCreated,
    RegistrationHeaders,
    RegistrationPage,
    RegistrationPath,
    RegistrationQuery,
    RegistrationRequest,
    RegistrationView,
    ShowQuery,
    named_project,
)
from app.bootstrap.stores import Stores
from app.config.live_config import LiveConfig
from app.cph.submission import Submission, read_submission
from app.domain.errors import InvalidField
from app.domain.ids import RANDOM_BITS, new_id
from app.domain.job import JobState
from app.domain.registration import Progress, Registration, RegistrationState
from app.domain.times import from_ms, to_ms
from app.observability.metric_definitions import REGISTRATIONS
from app.observability.metric_registry import MetricRegistry

POLL_INTERVAL_S = 0.1  # while a caller waits: the change happens in another process, which sends no signal
TARGETS = ("job_id", "job_ids", "request_id", "submission")
CALLBACK_FIELDS = ("secret", "headers", "verify", "format", "language", "link")
PULL_HINT = "add a callback_url, or omit this field and pull events from /v1/events"
EVENTS_HINT = "`each` sends job.… events, `all` sends group.finished, `both` sends both"


class RegistrationViews:
    def __init__(self, stores: Stores, config: LiveConfig, metrics: MetricRegistry, wait_slots: WaitSlots) -> None:
        self._registrations = stores.registrations
        self._memory_guard = stores.memory_guard
        self._clock = stores.clock
        self._config = config
        self._metrics = metrics
        self._wait_slots = wait_slots

    def routes(self) -> Routes:
        routes = Routes("registrations")
        routes.post("/registrations", responses={201: RegistrationCreated})(self.create_registration)
        routes.get("/registrations", responses={200: RegistrationPage})(self.list_registrations)
        routes.get("/registrations/<id>", responses={200: RegistrationView})(self.get_registration)
        routes.delete("/registrations/<id>", responses={204: None})(self.cancel_registration)
        return routes

    def create_registration(self, header: RegistrationHeaders, body: RegistrationRequest) -> Response:
        """Registers for the end of jobs, to be notified at a URL or by pulling events."""
        registration = self._registration(header, body)
        self._memory_guard.check()
        jobs = dict.fromkeys(registration.job_ids, JobState.PENDING)
        jobs |= {job.job_id: job.state for job in registration.ended if job.job_id}
        progress = Progress(state=RegistrationState.WATCHING, jobs=jobs)
        # Built before the registration is stored: with an Idempotency-Key, the same script stores the answer.
        answer = RegistrationCreated.of(registration, progress, secret=registration.secret).as_answer()
        g.trace_id = registration.trace_id
        earlier = self._registrations.add(
            registration,
            header.of(answer),
            quotas=self._config.quotas_of(registration.tenant),
            rate=self._config.format_catalog.rate(registration.format),
        )
        if earlier is None:
            self._metrics.count(REGISTRATIONS, registration.project, tenant=registration.tenant)
            return _created(registration.id, answer)
        answer = replayed_response(earlier)
        return _created(json.loads(answer)["id"], answer)

    def list_registrations(self, query: RegistrationQuery) -> Response:
        """Lists registrations, newest first."""
        found, cursor = self._registrations.page(tenant(), limit=query.limit, cursor=query.cursor, wanted=query.wants)
        for known in found:
            _log_if_undecrypted(*known)
        return json_answer(RegistrationPage.of(found, cursor).model_dump_json())

    def get_registration(self, path: RegistrationPath, query: ShowQuery) -> Response:
        """Returns a registration; with `wait_s`, once it is no longer `watching` or the time is up."""
        if query.wait_s:
            self._wait(path.id, query.wait_s)
        known = self._registrations.get(tenant(), path.id)
        if known is None:
            raise NoSuchId
        _log_if_undecrypted(*known)
        return json_answer(RegistrationView.of(*known).model_dump_json())

    def cancel_registration(self, path: RegistrationPath) -> Response:
        """Cancels a registration. After the answer no attempt for it starts, and none is under way."""
        until = self._registrations.cancel(tenant(), path.id)
        if until is None:
            raise NoSuchId
        if self._attempt_under_way(path.id, until):
            # The cancellation holds even if no slot is free (503): a second call answers once the attempt is over.
            credential = credential_check()
            with self._wait_slots.one(tenant()):
                while self._attempt_under_way(path.id, until):
                    credential.require()
                    time.sleep(POLL_INTERVAL_S)
        return Response(status=204)

    def _attempt_under_way(self, id: str, until: datetime) -> bool:
        return (now := self._clock()) < until and self._registrations.under_way(id, now)

    def _wait(self, id: str, wait_s: int) -> None:
        if not self._registrations.watching(tenant(), id):
            return
        credential = credential_check()
        with self._wait_slots.slices(tenant(), wait_s) as slices:
            for _ in slices:
                credential.require()
                if not self._registrations.watching(tenant(), id):
                    return
                time.sleep(POLL_INTERVAL_S)

    def _registration(self, header: RegistrationHeaders, body: RegistrationRequest) -> Registration:
        # In milliseconds, as it is stored: later reads must show the same time.
        now = from_ms(to_ms(self._clock()))
        owner = tenant()
        callback = self._callback(body, owner)
        target = _target(body)
        registration = Registration(
            id=new_id("reg", to_ms(now), secrets.randbits(RANDOM_BITS)),
            tenant=owner,
            project=named_project(body.project, self._config.projects_of(owner)),
            job_ids=target.job_ids,
            callback_url=callback.url,
            destination=callback.destination,
            secret=callback.secret,
            events=body.events,
            metadata=body.metadata,
            created_at=now,
            deadline_at=now + timedelta(seconds=body.deadline_s),
            traceparent=header.traceparent,
            notify=body.notify,
            request_id=target.request_id,
            ended=target.ended,
            headers=body.headers,
            verify=body.verify,
            format=callback.format.name,
            language=body.language,
            link=body.link,
        )
        if not registration.subscribed_events:
            raise InvalidField("/events", f"none of them is sent with notify={body.notify}", EVENTS_HINT)
        return registration

    def _callback(self, body: RegistrationRequest, owner: str) -> CallbackOptions:
        """Returns NO_CALLBACK for a registration that pulls events."""
        if "callback_url" not in body.model_fields_set:
            for name in CALLBACK_FIELDS:
                if getattr(body, name) != RegistrationRequest.model_fields[name].default:
                    raise InvalidField(f"/{name}", "has no effect without callback_url", PULL_HINT)
            return callback_options.NO_CALLBACK
        return callback_options.resolve(
            self._config,
            owner,
            url=body.callback_url,
            format_name=body.format,
            secret=body.secret,
            headers=body.headers,
        )


def _target(body: RegistrationRequest) -> Submission:
    """Returns the jobs to watch in the form of CPH's submission response, whichever field names them."""
    given = [name for name in TARGETS if getattr(body, name) is not None]
    if len(given) != 1:
        name = given[-1] if given else TARGETS[0]
        raise InvalidField(f"/{name}", f"exactly one of {', '.join(TARGETS)} must be given")
    if body.submission is not None:
        return read_submission(body.submission)
    job_ids = (body.job_id,) if body.job_id else tuple(dict.fromkeys(body.job_ids or ()))
    return Submission(body.request_id, job_ids, ended=())


def _log_if_undecrypted(registration: Registration, progress: Progress) -> None:
    if not progress.decrypted:
        remedy = "add the key that encrypted it back to BRIDGE_SECRET_KEYS, in last position"
        logs.event("registration.undecryptable", level=logging.ERROR, registration_id=registration.id, remedy=remedy)


def _created(id: str, answer: str) -> Response:
    return json_answer(answer, 201, {"Location": f"/v1/registrations/{id}"})
