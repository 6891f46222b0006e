"""Faults of CPH."""

import json
import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.faults.answers import Answer, Request
from tests.faults.catalog import define, fault
from tests.faults.cph import answer_json, new_id, refusal
from tests.faults.scene import Scene

GROUP = "cph"
SECONDS = 6.0
HTML = Answer(200, b"<html><body>Maintenance</body></html>", {"Content-Type": "text/html"})
LIMIT_TEXT = "The throttling threshold has been reached: policy user over ratelimit,limit:10,time:1 minute"
BREAKER: dict[str, Any] = {"recovers_s": 80, "settle_s": 100}  # a refusal stops all calls for a minute


def answers(scene: Scene, answer: Callable[[Request], Answer | None], seconds: float = SECONDS) -> None:
    scene.cph.behave = answer
    scene.pause(seconds)
    scene.cph.behave = lambda _: None


def twisted(scene: Scene, twist: Callable[[dict[str, Any]], dict[str, Any]], seconds: float = SECONDS) -> None:
    scene.cph.twist = twist
    scene.pause(seconds)
    scene.cph.twist = lambda job: job


def sometimes(chance: float, answer: Answer) -> Callable[[Request], Answer | None]:
    return lambda _: answer if random.random() < chance else None


def always(answer: Answer) -> Callable[[Request], Answer | None]:
    return lambda _: answer


def listing_only(answer: Answer) -> Callable[[Request], Answer | None]:
    return lambda request: answer if "?" in request.path else None


ANSWERS: tuple[tuple[str, str, Answer, dict[str, Any]], ...] = (
    ("cph-429", "answers 429", refusal(429, "APIGW.0308", "throttled"), {"recovers_s": 40, "settle_s": 60}),
    (
        "cph-429-with-its-limit",
        "answers 429 and names its limit",
        refusal(429, "APIGW.0308", LIMIT_TEXT),
        {"recovers_s": 90, "settle_s": 240},
    ),
    ("cph-500", "answers 500", refusal(500, "CPS.0003", "Internal error."), {}),
    ("cph-503", "answers 503 with HTML", Answer(503, HTML.body, HTML.headers), {}),
    ("cph-busy", "answers that it is busy", refusal(400, "CPS.0042", "Busy."), {}),
    ("cph-401", "refuses the credentials", refusal(401, "APIGW.0301", "Incorrect IAM authentication"), BREAKER),
    ("cph-403", "refuses the permission", refusal(403, "CPS.0001", "No permission."), BREAKER),
    ("cph-html", "answers 200 with HTML", HTML, {}),
    ("cph-nonsense", "answers 200 with other JSON", answer_json({"job": [1, 2, {"status": "2"}]}), {}),
    ("cph-array", "answers 200 with a JSON array", answer_json([{"status": 2}]), {}),
    ("cph-empty", "answers 200 with nothing", Answer(200), {}),
    ("cph-endless", "answers with a body that never ends", Answer(200, b'{"jobs": [' + b" " * 4096, endless=True), {}),
    ("cph-silent", "does not answer", Answer(silent=True), {}),
    ("cph-resets", "resets each connection", Answer(reset=True), {}),
    ("cph-garbage", "answers with bytes that are no HTTP", Answer(raw=b"\x00\xff garbage\r\n\r\n"), {}),
    ("cph-cut", "closes after half of a body", Answer(200, b'{"job_id": "x", "status": 2, ' + b" " * 500, cut=20), {}),
    ("cph-error-in-200", "answers 200 with an error", refusal(200, "CPS.0003", "Internal error."), {}),
    ("cph-moved", "answers 404 for a wrong endpoint", refusal(404, "APIGW.0101", "The API does not exist"), BREAKER),
)
for name, text, answer, options in ANSWERS:
    define(
        GROUP,
        name,
        f"{text}, for 6 s",
        partial(answers, answer=always(answer)),
        quick=name == "cph-html",
        **options,
    )

MIXED: tuple[tuple[str, str, Callable[[Request], Answer | None]], ...] = (
    (
        "cph-fails-half",
        "answers half of the calls with 500",
        sometimes(0.5, refusal(500, "CPS.0003", "Internal error.")),
    ),
    ("cph-drops-half", "closes on half of the calls", sometimes(0.5, Answer(reset=True))),
    (
        "cph-forgets-now-and-then",
        "answers every third call that the job is not there",
        sometimes(0.3, refusal(404, "CPS.0011", "The job does not exist.")),
    ),
    ("cph-may-not-list", "refuses ListJobs", listing_only(refusal(403, "CPS.0001", "No permission."))),
    ("cph-lists-empty", "lists no jobs", listing_only(answer_json({"request_id": new_id(), "jobs": []}))),
    (
        "cph-lists-only-strangers",
        "lists jobs of somebody else",
        listing_only(answer_json({"request_id": new_id(), "jobs": [{"job_id": new_id(), "status": 2}]})),
    ),
    (
        "cph-lists-nonsense",
        "lists records that are none",
        listing_only(answer_json({"request_id": new_id(), "jobs": [None, 7, "x", {"job_id": 5}, {"status": 2}]})),
    ),
)
for name, text, mixed in MIXED:
    define(GROUP, name, f"{text}, for 6 s", partial(answers, answer=mixed), settle_s=60)


def unless(chance: float, **fields: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Overwrites fields of that share of the jobs that are shown."""
    return lambda job: {**job, **fields} if random.random() < chance else job


TWISTS: tuple[tuple[str, str, Callable[[dict[str, Any]], dict[str, Any]]], ...] = (
    (
        "cph-goes-backwards",
        "shows jobs that have ended as running, half of the time",
        unless(0.5, status=1, end_time=None),
    ),
    ("cph-unknown-status", "shows a status that nobody knows, half of the time", unless(0.5, status=7)),
    ("cph-status-as-text", "shows a status as text, half of the time", unless(0.5, status="2")),
    ("cph-status-missing", "shows no status, half of the time", unless(0.5, status=None)),
    ("cph-wrong-job", "shows another job's record, half of the time", unless(0.5, job_id="f" * 32, status=2)),
    (
        "cph-odd-fields",
        "shows fields of odd types and half surrogates",
        unless(0.7, error_msg={"a": 1}, execute_msg="\ud83d", phone_id=7, unknown_field=[1]),
    ),
    ("cph-wrong-request", "names another request for each job", lambda job: {**job, "request_id": new_id()}),
)
for name, text, twist in TWISTS:
    define(GROUP, name, f"{text}, for 6 s", partial(twisted, twist=twist), settle_s=60)


@fault(GROUP, "refuses connections for 5 s")
def cph_down(scene: Scene) -> None:
    scene.cph.server.down()
    scene.pause(5)
    scene.cph.server.up()


@fault(GROUP, "answers after 1.5 s, for 8 s", prompt=False, goes_on=True)
def cph_slow(scene: Scene) -> None:
    def late(_: Request) -> None:
        time.sleep(1.5)

    answers(scene, late, 8)


@fault(GROUP, "sends its answers byte by byte, for 6 s")
def cph_drips(scene: Scene) -> None:
    body = json.dumps({"jobs": []}).encode() * 50
    answers(scene, lambda _: Answer(200, body, drip_s=0.1))


@fault(GROUP, "says once of each job that it is not there")
def cph_404_once(scene: Scene) -> None:
    seen: set[str] = set()

    def first(request: Request) -> Answer | None:
        if request.path in seen or "?" in request.path:
            return None
        seen.add(request.path)
        return refusal(404, "CPS.0011", "The job does not exist.")

    answers(scene, first, 8)
