"""Faults of CPH."""

import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.faults.answers import Answer, Request
from tests.faults.catalog import define, fault
from tests.faults.cph import answer_json, new_id, refusal
from tests.faults.scene import Scene, Setting

GROUP = "cph"
SECONDS = 5.0
HTML = Answer(200, b"<html><body>Maintenance</body></html>", {"Content-Type": "text/html"})
ERROR = ("CPS.0003", "Internal error.")
LIMIT_TEXT = "The throttling threshold has been reached: policy user over ratelimit,limit:10,time:1 minute"
NONSENSE: tuple[object, ...] = ({"job": [1, 2, {"status": "2"}]}, [{"status": 2}], None, 7, "", {"jobs": {}})
NO_RECORDS: tuple[object, ...] = (None, 7, "x", {"job_id": 5}, {"status": 2})

Choose = Callable[[Request], Answer | None]
Twist = Callable[[dict[str, Any]], dict[str, Any]]


def answers(scene: Scene, choose: Choose, seconds: float = SECONDS) -> None:
    scene.cph.behave = choose
    scene.pause(seconds)
    scene.cph.behave = lambda _: None


def twisted(scene: Scene, twist: Twist) -> None:
    scene.cph.twist = twist
    scene.pause(SECONDS)
    scene.cph.twist = lambda job: job


def always(answer: Answer) -> Choose:
    return lambda _: answer


def sometimes(chance: float, *choices: Answer) -> Choose:
    return lambda _: random.choice(choices) if random.random() < chance else None


def listing_only(answer: Answer) -> Choose:
    return lambda request: answer if "?" in request.path else None


ANSWERS: tuple[tuple[str, str, Choose, dict[str, Any]], ...] = (
    ("cph-429", "answers 429", always(refusal(429, "APIGW.0308", "throttled")), {"recovers_s": 40, "settle_s": 60}),
    (
        "cph-429-with-its-limit",
        "answers 429 and names a limit of 10 calls a minute",
        always(refusal(429, "APIGW.0308", LIMIT_TEXT)),
        # The rate is back five minutes later; no deadline may pass meanwhile.
        {"recovers_s": 120, "settle_s": 400, "setting": Setting(deadline_s=1_200)},
    ),
    (
        "cph-401",
        "refuses the credentials",
        always(refusal(401, "APIGW.0301", "Incorrect IAM authentication")),
        {"recovers_s": 80, "settle_s": 100},
    ),
    ("cph-html", "answers 200 with HTML", always(HTML), {"quick": True}),
    ("cph-nonsense", "answers 200 with other JSON", sometimes(1.0, *map(answer_json, NONSENSE)), {}),
    (
        "cph-endless",
        "answers with a body that never ends",
        always(Answer(200, b'{"jobs": [' + b" " * 4096, endless=True)),
        {},
    ),
    ("cph-silent", "does not answer", always(Answer(silent=True)), {}),
    (
        "cph-cut",
        "closes after half of a body, or of a head",
        sometimes(
            1.0,
            Answer(200, b'{"job_id": "x", "status": 2, ' + b" " * 500, cut=20),
            Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Le"),
            Answer(reset=True),
        ),
        {},
    ),
    (
        "cph-fails-half",
        "answers half of the calls with an error: in a 200, 400, 500 or 503",
        sometimes(0.5, refusal(200, *ERROR), refusal(400, "CPS.0042", "Busy."), refusal(500, *ERROR), Answer(503)),
        {},
    ),
    (
        "cph-forgets-now-and-then",
        "answers every third call that the job is not there",
        sometimes(0.3, refusal(404, "CPS.0011", "The job does not exist.")),
        {},
    ),
    ("cph-may-not-list", "refuses ListJobs", listing_only(refusal(403, "CPS.0001", "No permission.")), {}),
    (
        "cph-lists-nonsense",
        "lists records that are none",
        listing_only(answer_json({"request_id": new_id(), "jobs": NO_RECORDS})),
        {},
    ),
)
for name, text, choose, options in ANSWERS:
    define(GROUP, name, f"{text}, for 5 s", partial(answers, choose=choose), **{"settle_s": 60, **options})


def half(**fields: Any) -> Twist:
    """Overwrites fields of half of the jobs that are shown."""
    return lambda job: {**job, **fields} if random.random() < 0.5 else job


def shown_instead(**fields: Any) -> Twist:
    """The same, of jobs that are shown one by one: only these name their request."""
    return lambda job: half(**fields)(job) if "request_id" in job else job


TWISTS: tuple[tuple[str, str, Twist], ...] = (
    ("cph-goes-backwards", "shows jobs that have ended as running, half of the time", half(status=1, end_time=None)),
    (
        "cph-unknown-status",
        "shows an unknown status, a text, or none",
        lambda job: {**job, "status": random.choice([job["status"], 7, "done", None])},
    ),
    ("cph-wrong-job", "ShowJob shows another job's record, half of the time", shown_instead(job_id="f" * 32, status=2)),
    ("cph-wrong-request", "names another request for each job", lambda job: {**job, "request_id": new_id()}),
)
for name, text, twist in TWISTS:
    define(GROUP, name, f"{text}, for 5 s", partial(twisted, twist=twist), settle_s=60)


@fault(GROUP, "answers after 1.5 s, for 6 s", goes_on=True)
def cph_slow(scene: Scene) -> None:
    def late(_: Request) -> None:
        time.sleep(1.5)

    answers(scene, late, 6)
