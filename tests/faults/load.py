"""The steady load: callers of several tenants register, cancel, and read their feeds; what they were told is kept."""

import base64
import itertools
import random
import secrets
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import Any

from tests.faults.api import Api, ApiReply
from tests.faults.cph import CphJob, CphServer

MARKER = "marker-hush"  # in everything that no log may show
SIGNING_MARKER = base64.b64encode(f"{MARKER}-secret".encode()).decode()  # in each signing secret: 18 bytes, 24 letters
PAUSE_S = (0.3, 0.9)  # between two calls of a caller
CANCEL_WITHIN_S = 4.0
TRIES = 8
GROUP_FINISHED = "group.finished"


@dataclass
class Order:
    """A registration as its caller knows it. Times are monotonic, s; 0: not yet.

    id: '' unless it was acknowledged. notify: `each`, `both`, `all`. cancelled: when a 204 had been read.
    """

    number: int
    tenant: str
    jobs: list[CphJob]
    notify: str
    path: str  # '' if its events are pulled
    secret: str
    bystander: bool = True
    sent: float = 0.0
    id: str = ""
    acknowledged: float = 0.0
    cancel_sent: float = 0.0
    cancelled: float = 0.0
    statuses: list[int] = field(default_factory=list)

    @property
    def wanted(self) -> set[tuple[str, str]]:
        """(job or '', event type) of all events that it is owed."""
        single = {(job.job_id, job.outcome) for job in self.jobs} if self.notify != "all" else set()
        return single | ({("", GROUP_FINISHED)} if self.notify != "each" else set())

    @property
    def owed(self) -> bool:
        return bool(self.id) and not self.cancel_sent


class Feed:
    """Follows the feed of a tenant as one of its services does: each page once, in order."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.cursor = ""
        self.statuses: Counter[int] = Counter()

    def take(self, reply: ApiReply) -> bool:
        """Returns whether there were events."""
        self.statuses[reply.status] += 1
        if not reply.ok:
            return False
        self.ids += [event["id"] for event in reply.body["items"]]
        self.cursor = reply.body["next_cursor"]
        return bool(reply.body["items"])


class Load:
    """keys: API keys by tenant. callers: the tenants of the steady load; calls of others are not judged. deadline_s: of
    half of the registrations."""

    def __init__(
        self,
        api: Api,
        cph: CphServer,
        receiver_url: str,
        keys: Mapping[str, str],
        callers: Sequence[str],
        seed: int,
        deadline_s: int,
    ) -> None:
        self._api, self._cph, self._receiver_url, self.keys = api, cph, receiver_url, keys
        self._seed, self._deadline_s = seed, deadline_s
        self._numbers = itertools.count(1)
        self._lock = Lock()
        self._orders: list[Order] = []
        self._stopping, self._ended = Event(), Event()
        self._callers: list[Thread] = []
        self._followers: list[Thread] = []
        self.feeds = {tenant: Feed() for tenant in callers}
        self.statuses: Counter[int] = Counter()  # of all calls of callers but those of feeds

    def start(self) -> None:
        for tenant in self.feeds:
            self._callers.append(Thread(target=self._run, args=[tenant], daemon=True))
            self._followers.append(Thread(target=self._follow, args=[tenant], daemon=True))
        for thread in (*self._callers, *self._followers):
            thread.start()

    def stop(self) -> None:
        """Stops registering; feeds are still followed."""
        self._stopping.set()
        for thread in self._callers:
            thread.join()

    def end(self) -> None:
        self._ended.set()
        for thread in self._followers:
            thread.join()

    def orders(self) -> list[Order]:
        with self._lock:
            return list(self._orders)

    def call(self, tenant: str, method: str, path: str, body: object = None, **headers: str) -> ApiReply:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        reply = self._api.call(self.keys[tenant], method, path, body, named)
        if tenant in self.feeds:
            self.statuses[reply.status] += 1
        return reply

    def register(
        self,
        tenant: str,
        jobs: Sequence[CphJob],
        *,
        notify: str = "each",
        pulled: bool = False,
        whole_request: bool = False,
        tries: int = TRIES,
        bystander: bool = True,
        url: str | None = None,
        **fields: Any,
    ) -> Order:
        """Registers until it is acknowledged. bystander: whether the fault must leave it unharmed."""
        number = next(self._numbers)
        secret = "whsec_" + base64.b64encode(f"{MARKER}-secret-{secrets.token_hex(8)}".encode()).decode()
        path = "" if pulled else f"/{tenant}/{number}/{MARKER}-path"
        order = Order(number, tenant, list(jobs), notify, path, secret, bystander)
        with self._lock:
            self._orders.append(order)
        ids = [job.job_id for job in jobs]
        body: dict[str, Any] = {"request_id": jobs[0].request_id} if whole_request else {"job_ids": ids}
        body |= {"notify": notify, "metadata": {"note": f"{MARKER}-metadata"}, **fields}
        if not pulled:
            headers = {"Authorization": f"Bearer {MARKER}-header"}
            body |= {"callback_url": (url or self._receiver_url) + path, "secret": secret, "headers": headers}
        order.sent = time.monotonic()
        for _ in range(tries):
            reply = self.call(tenant, "POST", "/v1/registrations", body, Idempotency_Key=f"order-{number}")
            order.statuses.append(reply.status)
            if reply.status == 201:
                order.id, order.acknowledged = reply.body["id"], time.monotonic()
                break
            if 0 < reply.status < 500 and reply.status not in (409, 429):
                break
            if self._stopping.wait(0.5):
                break
        return order

    def cancel(self, order: Order) -> None:
        order.cancel_sent = time.monotonic()
        if self.call(order.tenant, "DELETE", f"/v1/registrations/{order.id}").status == 204:
            order.cancelled = time.monotonic()

    def _run(self, tenant: str) -> None:
        chance = random.Random(f"{self._seed} {tenant}")
        while not self._stopping.wait(chance.uniform(*PAUSE_S)):
            recent = [order for order in self.orders() if order.tenant == tenant and order.owed and order.path]
            recent = [order for order in recent if time.monotonic() - order.acknowledged < CANCEL_WITHIN_S]
            if recent and chance.random() < 0.2:
                self.cancel(chance.choice(recent))
            else:
                self._register_something(tenant, chance)

    def _register_something(self, tenant: str, chance: random.Random) -> None:
        def job(request_id: str | None = None) -> CphJob:
            succeeds = chance.random() < 0.85
            return self._cph.start(runs_s=chance.uniform(0.3, 4), succeeds=succeeds, request_id=request_id)

        deadline: dict[str, Any] = {"deadline_s": self._deadline_s} if chance.random() < 0.5 else {}
        match chance.choices(("one", "pulled", "group", "request"), (6, 2, 2, 1))[0]:
            case "one":
                self.register(tenant, [job()], **deadline)
            case "pulled":
                self.register(tenant, [job()], pulled=True, **deadline)
            case "group":
                jobs = [job() for _ in range(chance.randint(2, 4))]
                self.register(tenant, jobs, notify=chance.choice(("both", "all")), **deadline)
            case _:
                first = job()
                jobs = [first, *(job(first.request_id) for _ in range(chance.randint(1, 3)))]
                self.register(tenant, jobs, notify="both", whole_request=True, **deadline)

    def _follow(self, tenant: str) -> None:
        feed = self.feeds[tenant]
        while not self._ended.is_set():
            if not feed.take(self._api.events(self.keys[tenant], feed.cursor, wait_s=1)):
                self._ended.wait(0.3)
