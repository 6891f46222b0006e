"""Reading a log while it grows."""

from pathlib import Path

from app.devkit.log_tail import LogTail, format_line, last_lines


def test_only_what_is_logged_from_now_on_is_read_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text('{"event": "old"}\n', encoding="utf-8")
    tail = LogTail(log)
    assert tail.new() == []
    with log.open("a", encoding="utf-8") as file:
        file.write('{"event": "first"}\n{"event": "second"}\n')
    assert [line["event"] for line in tail.new()] == ["first", "second"]
    assert tail.new() == []


def test_a_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    log = tmp_path / "log"
    tail = LogTail(log)
    assert tail.new() == []
    log.write_text('{"event": ', encoding="utf-8")
    assert tail.new() == []
    with log.open("a", encoding="utf-8") as file:
        file.write('"late"}\n')
    assert tail.new() == [{"event": "late"}]


def test_what_is_not_our_logging_is_kept_as_a_message(tmp_path: Path) -> None:
    log = tmp_path / "log"
    tail = LogTail(log)
    log.write_text("Traceback (most recent call last):\n42\n", encoding="utf-8")
    assert [format_line(line) for line in tail.new()] == ["Traceback (most recent call last):", "42"]


def test_the_last_lines_are_shown_in_plain_words(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_lines(log, 2) == ""
    log.write_text(
        'first\n{"time": "t", "level": "info", "event": "a.b", "id": 7, "error": null}\nlast\n', encoding="utf-8"
    )
    assert last_lines(log, 2) == "a.b id=7\nlast"
