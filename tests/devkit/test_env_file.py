"""Parsing of `--env-file`, in docker's format."""

from pathlib import Path

import pytest

from app.devkit.bridge import MANAGED_SETTINGS, Bridge
from app.devkit.env_file import read
from app.domain.errors import OperatorError


def write_env_file(folder: Path, content: bytes) -> Path:
    file = folder / "bridge.env"
    file.write_bytes(content)
    return file


def test_a_line_is_a_setting_taken_as_it_stands(tmp_path: Path) -> None:
    lines = [
        b"\xef\xbb\xbfBRIDGE_CPH_PROJECT_ID=p1",
        b"# a comment",
        b"",
        b"  # another",
        b" BRIDGE_CPH_TOKEN='a=b' # \xc3\xbc ",
        b"BRIDGE_LINK=",
        b"BRIDGE_LEASE_S=1\r",
        b"BRIDGE_LEASE_S=2\r",
    ]
    assert read(write_env_file(tmp_path, b"\n".join(lines))) == {
        "BRIDGE_CPH_PROJECT_ID": "p1",
        "BRIDGE_CPH_TOKEN": "'a=b' # ü ",
        "BRIDGE_LINK": "",
        "BRIDGE_LEASE_S": "2",
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"hunter2", "line 2: must be NAME=value"),
        (b"BRIDGE_IAM_PASSWORD: hunter2", "line 2: must be NAME=value"),
        (b"export BRIDGE_IAM_PASSWORD=hunter2", "line 2: the name before = must consist of letters"),
        (b"=hunter2", "line 2: the name before = must consist of letters"),
        (b"hunter2=", "line 2: is not a setting of the bridge: their names begin with BRIDGE_"),
        (b"BRIDGE_REDIS_URL=hunter2", "line 2: BRIDGE_REDIS_URL is set by ./dev run"),
        (b"BRIDGE_SECRET_KEYS_FILE=hunter2", "line 2: BRIDGE_SECRET_KEYS_FILE is set by ./dev run"),
        (b"BRIDGE_IAM_PASSWORD=hunter2\xff", "line 2: is not UTF-8"),
        (b"BRIDGE_IAM_PASSWORD=hunter2\0", "line 2: the value contains a NUL character"),
    ],
)
def test_an_error_names_file_and_line_and_never_a_value(tmp_path: Path, line: bytes, message: str) -> None:
    file = write_env_file(tmp_path, b"BRIDGE_LEASE_S=20\n" + line + b"\n")
    with pytest.raises(OperatorError) as refused:
        read(file)
    assert f"{file}, {message}" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"cannot read .*/none: No such file"):
        read(tmp_path / "none")


def test_all_that_a_bridge_chooses_is_refused(tmp_path: Path) -> None:
    assert all(name.startswith(MANAGED_SETTINGS) for name in Bridge(tmp_path).environment)
