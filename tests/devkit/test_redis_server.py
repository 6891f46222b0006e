"""The embedded Redis, checked with redis-py."""

import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from app.devkit.processes import start, wait_until
from app.devkit.redis_server import Binary, RedisServer, find_server
from app.domain.errors import OperatorError


@contextmanager
def connected(server: RedisServer) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        yield client


def program(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    file.chmod(0o755)
    return file


def test_a_server_keeps_its_data_privately_and_on_disk(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with RedisServer(folder) as server, connected(server) as client:
        assert client.config_get("append*") | client.config_get("maxmemory-policy") == {
            "appendonly": "yes",
            "appendfsync": "everysec",
            "appendfilename": "appendonly.aof",
            "appenddirname": "appendonlydir",
            "maxmemory-policy": "noeviction",
        }
        assert client.config_get("port") == {"port": "0"}
        assert client.config_get("save") == {"save": ""}
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(server.socket.stat().st_mode) == 0o700


def test_a_killed_server_has_its_data_when_it_starts_again(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        with connected(server) as client:
            client.set("kept", "yes")
        server.kill()
        server.start()
        with connected(server) as client:
            assert client.get("kept") == "yes"


def test_a_stopped_server_has_its_data_for_the_next_one(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server, connected(server) as client:
        client.set("kept", "yes")
    with RedisServer(tmp_path) as server, connected(server) as client:
        assert client.get("kept") == "yes"


def test_two_servers_side_by_side_do_not_see_each_other(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "a") as one, RedisServer(tmp_path / "b") as other:
        with connected(one) as client:
            client.set("mine", "1")
        with connected(other) as client:
            assert client.get("mine") is None


def test_two_servers_never_share_a_folder(tmp_path: Path) -> None:
    with RedisServer(tmp_path), pytest.raises(OperatorError, match=f"A server runs in {tmp_path}"):
        RedisServer(tmp_path).start()


def test_a_folder_with_a_long_path_gets_its_socket_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 25)
    with RedisServer(folder) as server, connected(server) as client:
        assert client.ping()
        assert not server.socket.is_relative_to(folder)
        assert stat.S_IMODE(server.socket.parent.stat().st_mode) == 0o700
        elsewhere = server.socket.parent
    del server
    wait_until(lambda: not elsewhere.exists(), what="the socket's folder is gone")


def test_a_folder_with_a_name_in_another_alphabet_gets_its_socket_elsewhere(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "Überträger 数据") as server, connected(server) as client:
        assert client.ping()
        assert str(server.socket).isascii()


def test_a_folder_with_what_urls_mean_something_by_is_reached(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "a b%41?#&c") as server, connected(server) as client:
        assert client.ping()
        assert server.socket.is_relative_to(tmp_path)


def test_a_tmpdir_that_is_too_long_for_sockets_does_not_matter(tmp_path: Path) -> None:
    long = tmp_path / ("long" * 25)
    long.mkdir()
    code = "import json, tempfile; from pathlib import Path; from app.devkit.redis_server import RedisServer\n"
    code += "with RedisServer(Path(tempfile.gettempdir(), 'redis')) as server: print(json.dumps(str(server.socket)))"
    with start([sys.executable, "-c", code], {"TMPDIR": str(long)}) as process:
        wait_until(lambda: process.lines, what="where the socket is")
        assert process.lines[0].startswith('"/tmp/redis-')


def stub_server(folder: Path, script: str) -> Binary:
    return Binary(program(folder, "server", script), "Redis", "9.9")


def test_a_server_that_ends_at_once_shows_what_it_logged(tmp_path: Path) -> None:
    broken = stub_server(tmp_path, "echo no memory left >&2; exit 1")
    with pytest.raises(OperatorError, match=r"server did not start in .*\nno memory left"):
        RedisServer(tmp_path / "data", broken).start()


def test_a_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    silent = stub_server(tmp_path, "exec sleep 60")
    with pytest.raises(OperatorError, match="server did not start"):
        RedisServer(tmp_path / "data", silent).start(timeout=0.1)


def test_a_server_that_was_never_started_can_be_stopped(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    server.stop()
    server.kill()


def test_the_server_is_the_wheels_whatever_is_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_SERVER", raising=False)
    for name in ("valkey-server", "redis-server"):
        program(tmp_path, name, "echo Redis server v=6.0.16 sha=0")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = find_server()
    assert (found.name, found.path.name) == ("Valkey", "valkey-server")
    assert "site-packages" in str(found.path)


def test_another_server_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = program(tmp_path, "mine", "echo Redis server v=7.2.4 sha=00000000:0 malloc=libc bits=64 build=0")
    monkeypatch.setenv("REDIS_SERVER", str(named))
    assert find_server() == Binary(named, "Redis", "7.2.4")
    assert str(find_server()) == "Redis 7.2.4"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "echo Redis server v=6.2.14 sha=00000000:0",
            "is Redis 6.2.14; the bridge needs 7.0 or newer: unset REDIS_SERVER",
        ),
        ("echo hello", "is not a Redis server, judging by --version; unset REDIS_SERVER"),
        ("kill -9 $$", "is not a Redis server"),
    ],
)
def test_a_server_that_cannot_do_is_refused_with_the_way_out(tmp_path: Path, script: str, message: str) -> None:
    with pytest.raises(OperatorError, match=message):
        find_server(str(program(tmp_path, "redis-server", script)))


def test_a_server_that_is_not_there_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"nowhere: cannot be run: .*; unset REDIS_SERVER"):
        find_server(str(tmp_path / "nowhere"))
