"""The file that `./dev env` reads."""

import fcntl
import subprocess
from pathlib import Path

import pytest

from app.devkit.exports import export_lines, exports_file


def test_a_shell_takes_every_value_as_it_is() -> None:
    odd = """it's $HOME "and" `more`; # \\ ü"""
    lines = export_lines({"PLAIN": "http://127.0.0.1:8080", "ODD": odd})
    assert lines.startswith("export PLAIN=http://127.0.0.1:8080\n")
    shown = subprocess.run(
        ["sh", "-c", 'eval "$1"; printf "%s" "$ODD"', "sh", lines], capture_output=True, check=True, encoding="utf-8"
    )
    assert shown.stdout == odd


def test_the_file_is_its_owners_alone_and_locked_while_it_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / ".dev"
    with exports_file("export A=1\n", folder):
        [file] = folder.iterdir()
        assert file.match("run-*.env")
        assert file.stat().st_mode & 0o777 == 0o600
        with file.open(encoding="utf-8") as opened:
            assert opened.read() == "export A=1\n"
            with pytest.raises(BlockingIOError):
                fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
    assert list(folder.iterdir()) == []


def test_nothing_is_left_of_it_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), exports_file("export A=1\n", tmp_path):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / ".dev").write_text("no folder", encoding="utf-8")
    with pytest.raises(OSError, match="File exists"), exports_file("export A=1\n", tmp_path / ".dev"):
        pass
