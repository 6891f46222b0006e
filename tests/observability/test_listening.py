"""The listening sockets of the API, its probes and its metrics."""

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.domain.errors import OperatorError
from app.observability.listening import inherited, listen, listen_on_unix_socket, url_of
from tests.support import tools

SETTING = "BRIDGE_PROBE_BIND"


@pytest.fixture
def both_families() -> None:
    if not socket.has_dualstack_ipv6():
        tools.cannot("this machine has no IPv6")


@pytest.fixture
def short_folder(tmp_path: Path) -> Iterator[Path]:
    """The current folder: the path of a unix socket may have 107 bytes, and that of the test is longer."""
    before = Path.cwd()
    os.chdir(tmp_path)
    yield Path()
    os.chdir(before)


def takes(listener: socket.socket, host: str) -> bool:
    try:
        socket.create_connection((host, listener.getsockname()[1]), timeout=10).close()
    except OSError:
        return False
    return True


@pytest.mark.usefixtures("both_families")
@pytest.mark.parametrize(
    ("bind", "ipv4", "ipv6"),
    [
        ("[::]:0", True, True),
        (":0", True, True),
        ("*:0", True, True),
        ("[::1]:0", False, True),
        ("0.0.0.0:0", True, False),
        ("127.0.0.1:0", True, False),
        ("localhost:0", True, False),
    ],
)
def test_probes_of_both_families_reach_what_listens_on_all_addresses(bind: str, *, ipv4: bool, ipv6: bool) -> None:
    with listen(SETTING, bind) as listener:
        assert (takes(listener, "127.0.0.1"), takes(listener, "::1")) == (ipv4, ipv6)


@pytest.mark.usefixtures("both_families")
def test_an_ipv6_address_is_shown_in_brackets() -> None:
    with listen(SETTING, "[::1]:0") as listener:
        assert url_of(listener).startswith("http://[::1]:")


@pytest.mark.parametrize(
    "bind",
    [
        *("", "127.0.0.1", "127.0.0.1:", "[::1]", "[::1", "[::1:80", "::1]:80", "[:80", "unix:/x", "nonsense"),
        *("127.0.0.1:x", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:8080,[::1]:8080", "a..b:80", "203.0.113.1:1"),
        *("[::zz]:80", "http://127.0.0.1:80", f"{'a' * 70}.example:80"),
    ],
)
def test_an_address_that_cannot_be_had_is_refused_with_the_name_of_its_setting(bind: str) -> None:
    with pytest.raises(OperatorError, match=SETTING):
        listen(SETTING, bind)


def test_a_port_in_use_is_said_to_be_in_use() -> None:
    with listen(SETTING, "127.0.0.1:0") as first:
        port = first.getsockname()[1]
        with pytest.raises(
            OperatorError, match=f"{SETTING}: cannot listen on 127.0.0.1:{port}: Address already in use"
        ):
            listen(SETTING, f"127.0.0.1:{port}")


def test_a_unix_socket_replaces_that_of_a_process_that_has_ended(short_folder: Path) -> None:
    path = short_folder / "api.sock"
    listen_on_unix_socket("BRIDGE_API_BIND", path).close()
    with listen_on_unix_socket("BRIDGE_API_BIND", path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        assert stat.S_IMODE(path.stat().st_mode) == 0o777


def test_a_unix_socket_that_another_process_uses_stays_its_own(short_folder: Path) -> None:
    path = short_folder / "api.sock"
    with listen_on_unix_socket("BRIDGE_API_BIND", path), pytest.raises(OperatorError, match="Address already in use"):
        listen_on_unix_socket("BRIDGE_API_BIND", path)


@pytest.mark.parametrize("name", ["file", "nowhere/api.sock", "a" * 200])
def test_a_path_that_cannot_be_a_socket_is_refused(short_folder: Path, name: str) -> None:
    (short_folder / "file").touch()
    with pytest.raises(OperatorError, match="BRIDGE_API_BIND: cannot listen on"):
        listen_on_unix_socket("BRIDGE_API_BIND", short_folder / name)
    assert (short_folder / "file").is_file()


@pytest.mark.parametrize("descriptor", ["", "x", "-1", "999"])
def test_a_descriptor_that_is_no_socket_is_refused(descriptor: str) -> None:
    with pytest.raises(OperatorError, match="BRIDGE_API_BIND: fd://"):
        inherited("BRIDGE_API_BIND", descriptor)
