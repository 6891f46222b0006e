"""Tests of the sender in the network lab. test_lab.py runs pytest on this file in network namespaces."""

import re
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from operator import itemgetter
from time import monotonic
from typing import Any

import pytest

from app.domain.address import AddressPolicy, Endpoint
from app.domain.grant import Grant, TlsFiles
from app.domain.verdict import Verdict
from app.webhooks.sender import Attempt, Sender
from tests.support.certificates import Authority
from tests.support.network_lab import Canary, NameServer, set_up_network
from tests.support.ssrf_corpus import DNS, OPEN, ROWS, STRICT, expected

DEADLINE = timedelta(seconds=2)
PORTS = {80, 443, 8443, 8080} | {int(port) for row in ROWS for port in re.findall(r":([1-9]\d{1,4})/", row["url"])}
NOW = datetime(2019, 4, 26, 7, 0, 0, tzinfo=UTC)
PUBLIC = "93.184.216.34"


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def lab(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Canary:
    set_up_network(tmp_path_factory.mktemp("etc"))
    NameServer()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.certificate(PUBLIC, *DNS))
    return Canary(PORTS, context)


@pytest.fixture
def canary(lab: Canary) -> Canary:
    lab.reached.clear()
    return lab


@pytest.fixture
def tls_grant(authority: Authority) -> Grant:
    """A grant that trusts the canary's certificate and allows no network."""
    return Grant(
        tenants=frozenset({"t"}),
        hosts=frozenset({"*.test", PUBLIC}),
        networks=(),
        ports=frozenset(PORTS),
        schemes=frozenset({"https"}),
        tls=TlsFiles(ca=str(authority.file)),
    )


class SenderWithPolicy:
    """A sender whose policy can be changed for each call."""

    def __init__(self) -> None:
        self.policy = STRICT
        self._sender = Sender(policy=lambda: self.policy, deadline=DEADLINE, user_agent="test", clock=lambda: NOW)
        self.close = self._sender.close

    def post(self, url: str, policy: AddressPolicy, tenant: str = "t") -> Attempt:
        self.policy = policy
        return self._sender.post(url, tenant=tenant, headers={}, body=b"{}")


@pytest.fixture
def sender() -> Iterator[SenderWithPolicy]:
    with closing(SenderWithPolicy()) as sender:
        yield sender


@pytest.mark.parametrize("policy", [STRICT, OPEN], ids=["strict", "open"])
@pytest.mark.parametrize("row", ROWS, ids=itemgetter("id"))
def test_a_row_of_the_corpus_ends_as_it_says_and_reaches_nothing_else(
    canary: Canary, sender: SenderWithPolicy, tls_grant: Grant, row: dict[str, Any], policy: AddressPolicy
) -> None:
    began = monotonic()
    attempt = sender.post(row["url"], replace(policy, grants=(tls_grant,)))
    assert monotonic() - began < DEADLINE.total_seconds() + 0.5
    reached = [address for address, _ in canary.reached]
    match expected(row, policy):
        case "allow":
            status, verdict = (302, Verdict.REFUSED) if row["category"] == "redirect" else (200, Verdict.DELIVERED)
            assert (attempt.status_code, attempt.verdict) == (status, verdict), attempt
            assert reached == [row["canary"] or PUBLIC]
        case "deny":
            assert (attempt.status_code, attempt.verdict, reached) == (None, Verdict.REFUSED, []), attempt
        case "error":
            assert (attempt.status_code, attempt.verdict, reached) == (None, Verdict.RETRY, []), attempt
        case other:
            pytest.fail(f"unknown expectation {other}")


def test_the_canary_is_reached_at_forbidden_addresses_that_the_policy_allows(
    canary: Canary, sender: SenderWithPolicy
) -> None:
    inward = AddressPolicy(False, frozenset(), (ip_network("10.0.0.0/8"),))
    assert sender.post("http://internal.test/", inward).verdict is Verdict.DELIVERED
    assert canary.reached == [("10.0.0.5", 80)]


def test_a_name_that_changes_between_lookups_never_leads_inward(canary: Canary, tls_grant: Grant) -> None:
    verdicts = []
    for _ in range(6):
        with closing(SenderWithPolicy()) as new_sender:
            verdicts.append(new_sender.post("https://rebind.test/", replace(STRICT, grants=(tls_grant,))).verdict)
    assert set(verdicts) == {Verdict.DELIVERED, Verdict.REFUSED}
    assert canary.reached == [(PUBLIC, 443)] * 3


def test_a_tenants_names_that_hang_delay_nobody_elses(canary: Canary, sender: SenderWithPolicy) -> None:
    """A lookup hangs for longer than its attempt: the resolver asks again after 5 s."""
    with ThreadPoolExecutor(300) as pool:
        hanging = [pool.submit(sender.post, "http://slowdns.test/", OPEN, "hostile") for _ in range(300)]
        wait(hanging)
        assert {attempt.result().verdict for attempt in hanging} == {Verdict.RETRY}
        began = monotonic()
        assert sender.post("http://good.test/", OPEN, "other").verdict is Verdict.DELIVERED
        assert monotonic() - began < 1


BOT = "http://bot.team-b.svc.cluster.local:8080/hook"
BOTS = Grant(
    tenants=frozenset({"team-b"}),
    hosts=frozenset({"*.svc.cluster.local", "10.96.0.66"}),
    networks=(ip_network("10.96.0.0/16"),),
    ports=frozenset({8080, 6379}),
    schemes=frozenset({"http"}),
)


def test_a_kept_connection_that_a_grant_has_opened_serves_nobody_else(canary: Canary, sender: SenderWithPolicy) -> None:
    granted = replace(OPEN, grants=(BOTS,))
    for _ in range(2):
        assert sender.post(BOT, granted, "team-b").verdict is Verdict.DELIVERED
    assert canary.reached == [("10.96.8.8", 8080)]
    attempt = sender.post(BOT, granted, "team-c")
    assert (attempt.verdict, attempt.error) == (Verdict.REFUSED, "address_private")
    assert canary.reached == [("10.96.8.8", 8080)]


def test_a_kept_connection_is_not_used_after_its_grant_was_taken_back(canary: Canary, sender: SenderWithPolicy) -> None:
    assert sender.post(BOT, replace(OPEN, grants=(BOTS,)), "team-b").verdict is Verdict.DELIVERED
    assert sender.post(BOT, OPEN, "team-b").error == "address_private"
    assert len(canary.reached) == 1


@pytest.mark.parametrize("host", ["redis.bridge.svc.cluster.local", "10.96.0.66"])
def test_redis_stays_shut_by_name_and_by_address(canary: Canary, sender: SenderWithPolicy, host: str) -> None:
    denied = (Endpoint("redis.bridge.svc.cluster.local", 6379),)
    attempt = sender.post(f"http://{host}:6379/", replace(OPEN, grants=(BOTS,), denied=denied), "team-b")
    assert attempt.verdict is Verdict.REFUSED
    assert "host_denied" in (attempt.error or "")
    assert canary.reached == []
