"""Histories that once broke a promise, shrunk. They are played in every run of the tests."""

from collections.abc import Mapping, Sequence

from tests.simulate.steps import Step

KEPT: Mapping[str, Sequence[Step]] = {
    # The second registration named a job's request while the job was watched already. When both had left, the request
    # was polled on for that job.
    "a request is polled for a job that nobody waits for": [
        ("job", "e", "running"),
        ("register", "anna", -1, None, ("e",), (), "each", "all", 15, False),
        ("register", "anna", 0, "s", ("e",), (), "all", "all", 15, False),
    ],
}
