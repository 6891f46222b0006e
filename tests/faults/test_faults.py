"""The checker itself: it sees the bridge only from outside and finds what is broken."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults import report
from tests.faults.catalog import FaultCase, load_all
from tests.faults.cph import FAILED, SUCCEEDED, CphJob
from tests.faults.judge import Breach, Evidence, judge
from tests.faults.load import MARKER, Order
from tests.faults.receiver import ReceivedCallback
from tests.faults.run import FaultResult, run_fault
from tests.faults.scene import Scene

HERE = Path(__file__).parent
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
JOB = CphJob("job-1", "request-1", 0.0, 1.0, SUCCEEDED)


def imports_of(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_the_checker_imports_nothing_of_the_product_nor_of_other_tests() -> None:
    for file in HERE.rglob("*.py"):
        for name in imports_of(file):
            assert name.split(".")[0] not in ("app", "workers"), (file, name)
            assert f"{name}.".startswith("tests.faults.") or not name.startswith("tests"), (file, name)


def test_there_are_at_least_90_faults_in_ten_groups() -> None:
    faults = load_all().values()

    assert len(faults) >= 90
    assert len({fault.group for fault in faults}) == 10
    for fault in faults:
        inspect.signature(fault.inject).bind("scene")


def order(**changes: object) -> Order:
    fields: dict[str, Any] = {
        "number": 1,
        "tenant": "ann",
        "jobs": [JOB],
        "notify": "each",
        "path": "/ann/1",
        "secret": SECRET,
        "id": "reg_1",
        "acknowledged": 1.0,
    }
    return Order(**{**fields, **changes})


def event(kind: str = "job.succeeded", id: str = "evt_1", **data: object) -> dict[str, Any]:
    return {"id": id, "type": kind, "data": {"registration_id": "reg_1", "job": {"job_id": "job-1"}, **data}}


def callback(of: dict[str, Any], *, at: float = 2.0, accepted: bool = True) -> ReceivedCallback:
    """A callback as the bridge would sign it."""
    return ReceivedCallback.signed(of, SECRET, at=at, path="/ann/1", accepted=accepted)


def evidence(*callbacks: ReceivedCallback, **changes: object) -> Evidence:
    fields: dict[str, Any] = {
        "orders": [order()],
        "callbacks": callbacks or (callback(event()),),
        "feeds": {"ann": [event()]},
        "followed": {"ann": ["evt_1"]},
        "metrics": {"registrations_watching": 0.0},
    }
    return Evidence(**{**fields, **changes})


def test_nothing_is_broken_when_all_has_arrived() -> None:
    assert judge(evidence()) == []


GROUP_EVENT = {
    "id": "evt_g",
    "type": "group.finished",
    "data": {"registration_id": "reg_1", "group": {"total": 1, "succeeded": 0, "failed": 1}},
}


@pytest.mark.parametrize(
    ("promise", "seen"),
    [
        ("lost", evidence(callback(event(), accepted=False))),
        ("lost from the feed", evidence(feeds={"ann": []}, followed={"ann": []})),
        ("attempt after cancel", evidence(orders=[order(cancel_sent=1.0, cancelled=1.5)])),
        ("false outcome", evidence(callback(event("job.overdue")))),
        ("false outcome", evidence(callback(GROUP_EVENT))),
        ("false outcome", evidence(orders=[order(jobs=[CphJob("job-1", "r", 0.0, 1.0, FAILED)])])),
        ("terminal event twice", evidence(callback(event()), callback(event(id="evt_2")))),
        ("group.finished twice", evidence(callback(GROUP_EVENT), callback({**GROUP_EVENT, "id": "evt_h"}))),
        ("registered twice", evidence(callback(event()), callback(event(id="evt_2", registration_id="reg_2")))),
        ("id or body unstable", evidence(callback(event()), callback(event(other=1)))),
        ("signature invalid", evidence(orders=[order(secret="whsec_" + "A" * 32)])),
        ("feed not exactly once", evidence(feeds={"ann": [event(), event()]})),
        ("feed not in order", evidence(followed={"ann": []})),
        ("metrics disagree", evidence(metrics={"registrations_watching": 1.0})),
        ("secret in the clear", evidence(logs={"api": [f"… {MARKER}-path …"]}, secrets=[MARKER])),
        ("log line is no JSON", evidence(logs={"api-0.log": ["Traceback (most recent call last):"]})),
        ("false alarm", evidence(logs={"api-0.log": ['{"level": "error", "event": "redis.data_lost"}']})),
        ("API answers an error of its own", evidence(statuses={500: 1})),
    ],
)
def test_the_judge_finds_each_broken_promise(promise: str, seen: Evidence) -> None:
    assert promise in [breach.promise for breach in judge(seen)]


def delete_a_registration(scene: Scene) -> None:
    """What no crash may do: a registration is gone, though its caller was told 201."""
    order = scene.load.register("ann", [scene.cph.start(runs_s=3)])
    with scene.client() as client:
        client.delete(f"cph:{order.id}", f"cph:{order.id}:progress")
    scene.pause(4)


def test_the_document_has_a_line_for_each_fault_and_says_what_broke() -> None:
    breach = Breach("lost", 2, ("reg_1",))

    text = report.document(
        [FaultResult("kill-poll", "processes", 1, (breach,)), FaultResult("cph-401", "cph", 1)], load_all()
    )

    assert "1 held" in text
    assert "| `kill-poll` | SIGKILL to a random poll process, three times | 0 of 1 | 0 | – | lost |" in text
    assert "| `cph-401` | refuses the credentials, for 5 s | 1 of 1 | 0 | – | – |" in text


@pytest.mark.slow
def test_a_registration_that_is_deleted_by_hand_is_found_lost(tmp_path: Path) -> None:
    fault = FaultCase("none", "deleted", "", delete_a_registration, settle_s=8)

    result = run_fault(fault, 1, tmp_path / "scene")

    assert "lost" in [breach.promise for breach in result.breaches]
