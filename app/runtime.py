"""Builds clients, stores and the clock from the settings; the only place that constructs."""

import logging
import os
import signal
import time
from datetime import timedelta
from functools import cached_property

from redis import Redis
from redis.retry import Retry

from app import VERSION, logs
from app.cph.client import CphClient, cph_endpoint
from app.cph.credentials import Credentials, FixedToken
from app.cph.iam import IamPassword, iam_endpoint
from app.cph.keys import AccessKey
from app.domain.address import AddressPolicy
from app.domain.cadence import Cadence
from app.domain.delivery import Schedule
from app.domain.errors import OperatorError
from app.settings import Settings, parse_secret_keys
from app.store.agenda import Agenda, Pace
from app.store.api_keys import ApiKeys
from app.store.clock import RedisClock
from app.store.connection import HASTY, PATIENT, Client, connect
from app.store.deliveries import Deliveries
from app.store.registrations import Registrations
from app.store.requests import Requests
from app.store.scripts import Scripts
from app.store.sealing import Sealer
from app.store.tokens import SharedTokens
from app.store.wake_ups import WakeUps
from app.store.watches import Watches
from app.transport.client import Transport
from app.webhooks.sender import Sender

DEFAULT_PROJECT = "default"
POLL, DELIVER = "poll", "deliver"
UNPACED = 0.0


class Runtime:
    """What a process of the bridge needs, each part built when it is first used.

    patient: sits out short failures of Redis, as workers do; else they are reported within seconds.
    """

    def __init__(self, settings: Settings, *, patient: bool = False) -> None:
        self.settings = settings
        self._retry = PATIENT if patient else HASTY
        self._answer_time = timedelta(seconds=5 if patient else 2)

    @cached_property
    def redis(self) -> Client:
        return self._connect(self._retry)

    @cached_property
    def rq_redis(self) -> Client:
        """RQ handles redis-py's own errors, and reads bytes."""
        return self._connect(HASTY, Redis)

    @cached_property
    def clock(self) -> RedisClock:
        return RedisClock(self.redis, time.time)

    @cached_property
    def scripts(self) -> Scripts:
        return Scripts(self.redis)

    @cached_property
    def sealer(self) -> Sealer:
        keys = parse_secret_keys(self.settings.secret_keys)
        if not keys:
            remedy = "set BRIDGE_SECRET_KEYS to what `cph-bridge secret-key` prints"
            logs.event("secrets.lie_open", level=logging.WARNING, remedy=remedy)
        return Sealer(keys)

    @cached_property
    def api_keys(self) -> ApiKeys:
        key = self.settings.bootstrap_key
        return ApiKeys(self.redis, bootstrap=key.get_secret_value() if key else None)

    @cached_property
    def registrations(self) -> Registrations:
        return Registrations(self.scripts, self.sealer, retention=self.settings.retention)

    @cached_property
    def watches(self) -> Watches:
        return Watches(self.scripts, retention=self.settings.retention)

    @cached_property
    def requests(self) -> Requests:
        return Requests(self.scripts)

    @cached_property
    def deliveries(self) -> Deliveries:
        return Deliveries(self.scripts, self.registrations, retention=self.settings.retention)

    @cached_property
    def wake_ups(self) -> WakeUps:
        return WakeUps(self.redis)

    @cached_property
    def polls_due(self) -> Agenda:
        """A lane for each CPH project, paced."""
        pace = Pace(rate=self.settings.cph_rate, burst=1, places=self.settings.cph_places)
        return Agenda(self.scripts, POLL, lease=self.settings.lease, pace=pace)

    @cached_property
    def deliveries_due(self) -> Agenda:
        """A lane for each destination."""
        pace = Pace(rate=UNPACED, burst=1, places=self.settings.lane_places)
        return Agenda(self.scripts, DELIVER, lease=self.settings.lease, pace=pace)

    @cached_property
    def cadence(self) -> Cadence:
        return Cadence(timedelta(seconds=self.settings.poll_min_s), timedelta(seconds=self.settings.poll_max_s))

    @cached_property
    def schedule(self) -> Schedule:
        return Schedule(tuple(timedelta(seconds=wait) for wait in self.settings.retry_schedule))

    @cached_property
    def address_policy(self) -> AddressPolicy:
        return AddressPolicy(
            allow_http=self.settings.allow_http,
            allow_ports=self.settings.allow_ports,
            allow_networks=self.settings.allow_networks,
        )

    @cached_property
    def sender(self) -> Sender:
        return Sender(
            policy=self.address_policy,
            deadline=timedelta(seconds=self.settings.attempt_deadline_s),
            user_agent=f"cph-webhook-bridge/{VERSION}",
            clock=self.clock,
        )

    @cached_property
    def projects(self) -> tuple[str, ...]:
        """Names of the CPH projects that callers may name."""
        return (DEFAULT_PROJECT,) if self.settings.cph_project_id else ()

    @cached_property
    def cph_clients(self) -> dict[str, CphClient]:
        """By project. OperatorError if what a project needs is missing."""
        return {project: self._cph_client(project) for project in self.projects}

    def crash_point(self, name: str) -> None:
        """Ends the process as kill -9 does, if the settings name this point: for tests of what survives."""
        if self.settings.crash_at == name:
            os.kill(os.getpid(), signal.SIGKILL)

    def _connect(self, retry: Retry, kind: type[Redis] | None = None) -> Client:
        settings = self.settings
        options = {"kind": kind} if kind else {}
        return connect(
            settings.redis_url.get_secret_value(),
            sentinels=settings.redis_sentinels,
            service=settings.redis_sentinel_service,
            retry=retry,
            timeout=self._answer_time,
            **options,
        )

    def _cph_client(self, project: str) -> CphClient:
        settings = self.settings
        endpoint = settings.cph_endpoint or (settings.cph_region and cph_endpoint(settings.cph_region))
        if not endpoint or not settings.cph_project_id:
            raise OperatorError("CPH is not configured: set BRIDGE_CPH_PROJECT_ID, and BRIDGE_CPH_REGION or _ENDPOINT")
        transport = Transport(connections=settings.worker_threads)
        return CphClient(
            transport=transport,
            endpoint=endpoint,
            project_id=settings.cph_project_id,
            credentials=self._credentials(project, transport),
            deadline=settings.cph_timeout,
        )

    def _credentials(self, project: str, transport: Transport) -> Credentials:
        settings = self.settings
        if settings.cph_token:
            return FixedToken(settings.cph_token.get_secret_value())
        if settings.cph_access_key and settings.cph_secret_key:
            token = settings.cph_security_token
            return AccessKey(
                settings.cph_access_key.get_secret_value(),
                settings.cph_secret_key.get_secret_value(),
                token.get_secret_value() if token else None,
                project_id=settings.cph_project_id or "",
                clock=self.clock,
            )
        endpoint = settings.iam_endpoint or (settings.cph_region and iam_endpoint(settings.cph_region))
        if not (endpoint and settings.iam_user and settings.iam_password and settings.iam_domain):
            raise OperatorError(
                "no credentials for CPH: set BRIDGE_CPH_TOKEN, or BRIDGE_CPH_ACCESS_KEY and _SECRET_KEY,"
                " or BRIDGE_IAM_USER, _PASSWORD and _DOMAIN (and BRIDGE_IAM_ENDPOINT unless there is a region)"
            )
        return IamPassword(
            transport=transport,
            endpoint=endpoint,
            user=settings.iam_user,
            password=settings.iam_password.get_secret_value(),
            domain=settings.iam_domain,
            project_id=settings.cph_project_id or "",
            cache=SharedTokens(self.redis, self.sealer, project=project, login=settings.cph_timeout),
            clock=self.clock,
            deadline=settings.cph_timeout,
        )
