"""Connections to a Redis that is unavailable, full, or whose clock differs."""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from threading import Thread, Timer
from time import monotonic

import pytest
from redis import Redis
from redis.connection import SSLConnection
from redis.exceptions import ConnectionError as NotConnected

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.config.settings import load
from app.devkit.processes import wait_until
from app.devkit.redis_server import RedisServer
from app.domain.errors import Unavailable
from app.domain.job import Job, JobState
from app.store.engine.clock import RedisClock
from app.store.engine.connection import NO_RETRY, PATIENT, QUICK, connect
from app.store.engine.replicas import Replicas
from app.store.engine.scripts import Scripts
from app.store.events import BEGINNING
from tests.support.certificates import Authority
from tests.support.claims import claim_due


@contextmanager
def tls_proxy(server: RedisServer, certificate: str) -> Iterator[int]:
    """Runs a TLS proxy to a server without TLS. Yields its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while chunk := await source.read(65_536):
            sink.write(chunk)
        sink.close()

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_unix_connection(server.socket)
        await asyncio.gather(pump(reader, to_server), pump(from_server, writer))

    with asyncio.Runner() as runner:
        listener = runner.run(asyncio.start_server(join, "127.0.0.1", 0, ssl=context))
        loop = runner.get_loop()
        thread = Thread(target=loop.run_forever)
        thread.start()
        yield listener.sockets[0].getsockname()[1]
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        listener.close()


@contextmanager
def disconnecting_server() -> Iterator[tuple[str, list[None]]]:
    """Runs a server that closes every connection. Yields its URL and a list with one entry per connection."""
    connections: list[None] = []

    def disconnect_all() -> None:
        with suppress(OSError):  # the listener is closed at the end
            while True:
                connection, _ = listener.accept()
                connections.append(None)
                connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=disconnect_all)
        thread.start()
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}", connections
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_redis_that_cannot_be_reached_is_unavailable(tmp_path: Path) -> None:
    redis = connect(f"unix://{tmp_path}/none", retries=QUICK, timeout=timedelta(seconds=1))
    with pytest.raises(Unavailable, match="cannot be reached"):
        redis.ping()
    with pytest.raises(Unavailable, match="cannot be reached"):
        redis.pipeline().ping().execute()


def test_what_is_no_redis_is_reported_as_that() -> None:
    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        other_server = Thread(target=answer)
        other_server.start()
        redis = connect(f"redis://127.0.0.1:{listener.getsockname()[1]}", retries=QUICK, timeout=timedelta(seconds=5))
        with pytest.raises(Unavailable, match="is not Redis"):
            redis.ping()
        redis.close()
        other_server.join()


def test_rq_sees_the_errors_it_knows(tmp_path: Path) -> None:
    redis = connect(f"unix://{tmp_path}/none", retries=QUICK, timeout=timedelta(seconds=1), kind=Redis)
    with pytest.raises(NotConnected):
        redis.ping()


def test_a_patient_client_sits_out_a_restart(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis")
    server.start()
    runtime = Runtime(load({"BRIDGE_REDIS_URL": server.url}), patient=True)
    runtime.stores.scripts.run(runtime.stores.polls_due.claim(runtime.stores.clock(), 1))
    server.kill()
    server.start()
    runtime.stores.scripts.run(runtime.stores.polls_due.claim(runtime.stores.clock(), 1))
    runtime.stores.redis.close()
    server.stop()


def test_a_pipeline_that_is_tried_again_sends_all_of_it_again(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis")
    runtime = Runtime(load({"BRIDGE_REDIS_URL": server.url}), patient=True)
    starting = Timer(0.5, server.start)
    starting.start()
    assert runtime.stores.redis.pipeline(transaction=False).set("a", "1").get("a").execute() == [True, "1"]
    starting.join()
    runtime.stores.redis.close()
    server.stop()


def test_a_quick_client_comes_back_twice_to_a_redis_that_breaks_off() -> None:
    with (
        disconnecting_server() as (url, connections),
        connect(url, retries=QUICK, timeout=timedelta(seconds=5)) as redis,
    ):
        with pytest.raises(Unavailable):
            redis.ping()
        assert len(connections) == 3


def unblock(stores: Stores, command: str) -> None:
    """Ends the command, once it waits, as a failover does: with the error `UNBLOCKED`."""

    def unblocked() -> bool:
        clients = [client["id"] for client in stores.redis.client_list() if client["cmd"] == command]
        return any(stores.redis.execute_command("CLIENT", "UNBLOCK", client, "ERROR") for client in clients)

    wait_until(unblocked, what=f"{command} to wait")


def test_a_command_that_waits_in_a_failover_is_tried_again(stores: Stores) -> None:
    with ThreadPoolExecutor() as threads:
        popped = threads.submit(stores.redis.blpop, ["list"], 10)
        unblock(stores, "blpop")
        unblock(stores, "blpop")
        stores.redis.execute_command("RPUSH", "list", "x")
        assert popped.result() == ("list", "x")
        read = threads.submit(stores.events.wait, "t", BEGINNING, timedelta(seconds=1))
        unblock(stores, "xread")
        read.result()


def test_a_command_that_can_wait_nowhere_is_unavailable(stores: Stores) -> None:
    with ThreadPoolExecutor() as threads:
        popped = threads.submit(stores.redis.blpop, ["list"], 10)
        for _ in range(3):
            unblock(stores, "blpop")
        with pytest.raises(Unavailable, match="Redis ended a command that was waiting"):
            popped.result()


@pytest.mark.parametrize("raise_on_error", [True, False])
def test_waiting_for_replicas_in_a_failover_is_tried_again(stores: Stores, raise_on_error: bool) -> None:
    def write() -> None:
        pipeline = stores.redis.pipeline(transaction=False).set("a", "1")
        Replicas(stores.redis, 1).execute(pipeline, raise_on_error=raise_on_error)

    with ThreadPoolExecutor() as threads:
        written = threads.submit(write)
        unblock(stores, "wait")
        with pytest.raises(Unavailable, match="too few replicas hold what was written: 0 of 1"):
            written.result()


def test_a_lock_does_not_depend_on_scripts_that_redis_keeps(stores: Stores) -> None:
    lock = stores.redis.lock("cph:lock:x", timeout=10)
    assert lock.acquire()
    stores.redis.config_resetstat()
    stores.redis.script_flush()
    assert lock.reacquire()
    stores.redis.script_flush()
    lock.release()
    called = stores.redis.info("commandstats")
    assert "cmdstat_script|load" not in called
    assert "cmdstat_evalsha" not in called


def test_the_clock_does_not_come_back_to_a_redis_that_breaks_off() -> None:
    with (
        disconnecting_server() as (url, connections),
        connect(url, retries=QUICK, timeout=timedelta(seconds=5)) as redis,
    ):
        clock = RedisClock(Scripts(redis, Replicas(redis, 0)), lambda: 60.0, lambda: 60.0)
        assert [clock().timestamp(), clock().timestamp()] == [60.0, 60.0]
        assert len(connections) == 1


def test_a_full_redis_refuses_registrations_and_still_lets_workers_claim_and_record(
    stores: Stores, registration, now, deliveries_of
) -> None:
    stores.registrations.add(registration())
    stores.redis.config_set("maxmemory", "1")
    try:
        with pytest.raises(Unavailable, match="full"):
            stores.registrations.add(registration())
        assert stores.request_quota.spend("t", 10)[0]  # calls that free memory, such as cancelling, count too
        (claimed,) = claim_due(stores.polls_due, now, 1)
        stores.scripts.run(stores.watches.complete(claimed, Job("job-1", JobState.SUCCEEDED), now))
    finally:
        stores.redis.config_set("maxmemory", "0")
    assert len(deliveries_of()) == 1


def test_the_clock_goes_by_redis_and_not_by_ours(stores: Stores) -> None:
    an_hour_off = RedisClock(stores.scripts, wall=lambda: stores.clock().timestamp() - 3600)
    assert abs(an_hour_off() - stores.clock()) < timedelta(seconds=1)


def test_without_redis_the_clock_goes_on(tmp_path: Path) -> None:
    redis = connect(f"unix://{tmp_path}/none", retries=QUICK, timeout=timedelta(seconds=1))
    assert RedisClock(Scripts(redis, Replicas(redis, 0)), lambda: 60.0)().timestamp() == 60.0


def test_a_password_that_is_good_no_more_is_named_by_its_setting(redis_server: RedisServer, stores: Stores) -> None:
    """Connections that authenticated with it stay open until CLIENT KILL."""
    stores.redis.acl_setuser("rotating", enabled=True, passwords=["+old-pw", "+new-pw"], commands=["+ping"])

    def client_with(password: str) -> Redis:
        url = f"unix://rotating:{password}@{redis_server.socket}"
        return connect(url, retries=PATIENT, timeout=timedelta(seconds=5))

    with client_with("old-pw") as old, client_with("new-pw") as new:
        assert old.ping()
        assert new.ping()
        stores.redis.acl_setuser("rotating", enabled=True, passwords=["-old-pw"])
        assert old.ping()
        stores.redis.execute_command("CLIENT KILL", "USER", "rotating")
        assert new.ping()
        started = monotonic()
        with pytest.raises(Unavailable, match="BRIDGE_REDIS_URL") as refused:
            old.ping()
        assert monotonic() - started < 30  # without retrying for a minute
        assert "old-pw" not in str(refused.value)
    stores.redis.acl_deluser("rotating")


def test_an_answer_that_may_be_old_says_nothing_of_the_time(stores: Stores) -> None:
    """A process that was suspended between request and answer would measure a wrong offset: by half of that time."""
    steady = iter([0.0, 0.0, 0.0, 6.0, 6.0])
    assert RedisClock(stores.scripts, lambda: 7.0, lambda: next(steady))().timestamp() == 7.0


def test_sentinels_are_asked_for_the_primary(tmp_path: Path) -> None:
    settings = load({"BRIDGE_REDIS_URL": "redis://user:pw@ignored/3", "BRIDGE_REDIS_SENTINELS": "127.0.0.1:9, [::1]:9"})
    redis = Runtime(settings).stores.redis
    assert redis.connection_pool.connection_kwargs["password"] == "pw"
    assert redis.connection_pool.connection_kwargs["db"] == 3
    with pytest.raises(Unavailable, match="no Sentinel names a primary"):
        redis.ping()


def test_with_rediss_sentinels_are_asked_by_tls_as_well(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    url = f"rediss://ignored/0?ssl_ca_certs={authority.file}"
    redis = Runtime(load({"BRIDGE_REDIS_URL": url, "BRIDGE_REDIS_SENTINELS": "127.0.0.1:9"})).stores.redis
    (sentinel,) = redis.connection_pool.sentinel_manager.sentinels
    for pool in (redis.connection_pool, sentinel.connection_pool):
        assert issubclass(pool.connection_class, SSLConnection)
        assert pool.connection_kwargs["ssl_ca_certs"] == str(authority.file)


def test_redis_is_reached_by_tls_and_must_show_a_certificate_of_the_authority(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    ours, others = Authority(tmp_path), Authority(tmp_path, "others")
    with tls_proxy(redis_server, ours.certificate("127.0.0.1")) as port:

        def client_trusting(authority: Authority) -> Redis:
            url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={authority.file}"
            return connect(url, retries=QUICK, timeout=timedelta(seconds=5))

        with client_trusting(ours) as redis:
            assert redis.ping()
        with client_trusting(others) as redis, pytest.raises(Unavailable):
            redis.ping()


def test_a_script_that_a_full_redis_refuses_is_unavailable_for_workers_too(runtime: Runtime) -> None:
    stores = Stores(runtime.settings, patient=True)
    once = stores.redis.with_retries(NO_RETRY)
    once.config_set("maxmemory", 1)
    try:
        assert once.set("cph:any", "x")
        pipeline = once.pipeline()
        pipeline.rpush("cph:list", "x")
        pipeline.llen("cph:list")
        assert pipeline.execute() == [1, 1]
        with pytest.raises(Unavailable, match="full"):
            once.eval("#!lua\nreturn redis.call('SET', KEYS[1], 'x')", 1, "cph:other")  # type: ignore[attr-defined]
    finally:
        once.config_set("maxmemory", 0)
