"""Histories that once broke a promise, shrunk. They are played in every run of the tests."""

from collections.abc import Mapping, Sequence

from tests.simulate.steps import Step

KEPT: Mapping[str, Sequence[Step]] = {
    # The second registration named a job's request while the job was watched already. Both were overdue before ListJobs
    # had shown the job: the request was polled on for it.
    "a request is polled for a job that nobody waits for": [
        ("job", "e", "running"),
        ("cloud", "error"),
        ("register", "anna", -1, None, ("e",), (), "each", "all", 15, False),
        ("register", "anna", 0, "s", ("e",), (), "all", "all", 15, False),
        ("wait", 31),
        ("tick",),
    ],
}
