"""The progress table of `watch`, for very many jobs and for texts with terminal control characters."""

from itertools import count

from rich.console import Console

from app.cli.progress_table import ProgressTable


def rendered(table: ProgressTable, height: int = 10, width: int = 100) -> str:
    console = Console(width=width, height=height, force_terminal=False)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def test_jobs_that_need_attention_come_first_and_those_without_room_are_counted() -> None:
    table = ProgressTable(count().__next__)
    states = ["succeeded"] * 500 + ["failed", "running", "pending", "lost"]
    table.update([{"job_id": f"job-{number}", "state": state} for number, state in enumerate(states)], {})
    head, *rows, summary, note = [line.rstrip() for line in rendered(table).splitlines()]
    assert head.split() == ["job_id", "state", "age", "phone_id", "error"]
    assert [row.split()[1] for row in rows] == ["failed", "lost", "running", "pending", "succeeded", "succeeded"]
    assert summary.startswith("502 of 504 ended: 1 failed, 1 lost, 1 running, 1 pending, 500 succeeded (498 more not")
    assert note == ""


def test_only_changes_are_printed_and_an_age_ends_with_its_job() -> None:
    now = [0.0]
    table = ProgressTable(lambda: now[0])
    assert list(table.lines(table.update([{"job_id": "one", "state": "running"}], {}))) == ["one  running  0s"]
    now[0] = 65.0
    assert table.update([{"job_id": "one", "state": "running"}], {}) == []
    jobs = [{"job_id": "one", "state": "failed"}, {"job_id": None, "state": "lost"}]
    assert table.newly_ended(jobs) == {"one", None}
    details = {"one": {"phone_id": "p-1", "error_code": None, "error_msg": "no \x1b[2J phone"}}
    changed = table.update(jobs, details)
    now[0] = 99.0
    assert list(table.lines(changed)) == ["one  failed  1:05  p-1  no \ufffd[2J phone", "lost  0s"]
    assert table.newly_ended(jobs) == set()
    assert not table.all_succeeded
    assert "\x1b" not in rendered(table)


def test_a_registration_without_jobs_yet_is_none_of_them_ended() -> None:
    assert ProgressTable(count().__next__).summary() == "no jobs known yet"


def test_a_narrow_terminal_cuts_the_error_and_not_the_job() -> None:
    ids = [f"{number:032x}" for number in range(3)]
    table = ProgressTable(count().__next__)
    details = {id: {"phone_id": "p" * 32, "error_code": "CPS.0005", "error_msg": "no such phone " * 9} for id in ids}
    table.update([{"job_id": id, "state": "failed"} for id in ids], details)
    rows = rendered(table, width=80).splitlines()[1:4]
    assert [row.split()[:2] for row in rows] == [[id, "failed"] for id in ids]
    assert all("\N{HORIZONTAL ELLIPSIS}" in row for row in rows)
