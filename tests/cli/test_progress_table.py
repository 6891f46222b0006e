"""What a watch shows of very many jobs, and of jobs whose names draw on terminals."""

from itertools import count

from rich.console import Console

from app.cli.progress_table import Board


def drawn(board: Board, height: int = 10) -> str:
    console = Console(width=100, height=height, force_terminal=False)
    with console.capture() as captured:
        console.print(board)
    return captured.get()


def test_those_that_need_a_look_come_first_and_what_has_no_room_is_counted() -> None:
    board = Board(count().__next__)
    states = ["succeeded"] * 500 + ["failed", "running", "pending", "lost"]
    board.see([{"job_id": f"job-{number}", "state": state} for number, state in enumerate(states)], {})
    head, *rows, summary, note = [line.rstrip() for line in drawn(board).splitlines()]
    assert head.split() == ["job_id", "state", "age", "phone_id", "error"]
    assert [row.split()[1] for row in rows] == ["failed", "lost", "running", "pending", "succeeded", "succeeded"]
    assert summary.startswith(
        "502 of 504 ended: 1 failed, 1 lost, 1 running, 1 pending, 500 succeeded (498 more are not"
    )
    assert note == ""


def test_only_changes_are_told_and_an_age_ends_with_its_job() -> None:
    now = [0.0]
    board = Board(lambda: now[0])
    assert list(board.lines(board.see([{"job_id": "one", "state": "running"}], {}))) == ["one  running  0s"]
    now[0] = 65.0
    assert board.see([{"job_id": "one", "state": "running"}], {}) == []
    jobs = [{"job_id": "one", "state": "failed"}, {"job_id": None, "state": "lost"}]
    assert board.ended(jobs) == {"one", None}
    about = {"one": {"phone_id": "p-1", "error_code": None, "error_msg": "no \x1b[2J phone"}}
    changed = board.see(jobs, about)
    now[0] = 99.0
    assert list(board.lines(changed)) == ["one  failed  1:05  p-1  no \ufffd[2J phone", "lost  0s"]
    assert board.ended(jobs) == set()
    assert not board.all_succeeded
    assert "\x1b" not in drawn(board)


def test_a_registration_without_jobs_yet_is_none_of_them_ended() -> None:
    assert Board(count().__next__).summary() == "no job is known yet"
