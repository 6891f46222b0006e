"""Checks each URL of the SSRF corpus, then the addresses that the corpus gives its host."""

import socket
from dataclasses import replace
from ipaddress import ip_address, ip_network
from operator import itemgetter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from urllib3.util import parse_url

from app.domain.callback_url import parse
from app.domain.errors import InvalidField
from app.webhooks.guard import DestinationRefused, Guard
from tests.support.ssrf_corpus import DNS, OPEN, ROWS, STRICT, expected


class ConnectionAllowed(Exception):
    """The guard has allowed the connection."""


def resolve(name, port, call):
    try:
        return [(socket.AF_INET, (str(ip_address(name)), port))]
    except ValueError:
        return [address for record in DNS.get(name, []) for address in read_record(record, port)]


def read_record(record, port):
    kind, _, value = record.partition(" ")
    return resolve(value, port, None) if kind in ("A", "AAAA", "CNAME") else []


def dial(addresses, call):
    raise ConnectionAllowed if addresses else socket.gaierror


def judge(raw, policy):
    try:
        url = parse(raw, policy, "t")
        Guard(policy, (), resolve, dial)(url.scheme, url.host, url.port, None)
    except (InvalidField, DestinationRefused):
        return "deny"
    except ConnectionAllowed:
        return "allow"
    except socket.gaierror:
        return "error"


@pytest.mark.parametrize("row", ROWS, ids=itemgetter("id"))
def test_a_row_of_the_corpus_is_judged_as_it_says(row):
    assert judge(row["url"], STRICT) == expected(row, STRICT)


@pytest.mark.parametrize("row", ROWS, ids=itemgetter("id"))
def test_no_verdict_on_an_address_rests_on_its_scheme_or_port(row):
    assert judge(row["url"], OPEN) == expected(row, OPEN)


@pytest.mark.parametrize("row", ROWS, ids=itemgetter("id"))
def test_an_opened_network_opens_nothing_else(row):
    """No address of the corpus is in this network, and short names are URLs with it."""
    opened = replace(STRICT, allow_networks=(ip_network("198.18.7.0/24"),))
    denied = expected(row, STRICT) != "allow"
    assert denied == (judge(row["url"], opened) != "allow") or row["category"] in ("port", "scheme")


@pytest.mark.parametrize(
    ("address", "verdict"),
    [
        ("172.18.0.5", "allow"),
        ("10.0.0.1", "deny"),
        ("169.254.169.254", "deny"),
        ("127.0.0.1", "deny"),
        ("8.8.8.8", "deny"),
    ],
)
def test_a_short_name_leads_only_into_the_network_that_is_open(address, verdict):
    policy = replace(STRICT, allow_networks=(ip_network("172.18.0.0/16"),))
    url = parse("http://n8n:5678/x", policy, "t")
    assert url.host == "n8n"
    guard = Guard(policy, (), lambda name, *call: resolve({"n8n": address}.get(name, name), *call), dial)
    with pytest.raises(ConnectionAllowed if verdict == "allow" else DestinationRefused):
        guard(url.scheme, url.host, url.port, None)


@given(
    st.from_regex(
        r"https?://[\[\]A-Z0-9a-z.:@_%-]{1,20}\.[a-z]{2,5}\.?(:[0-9]{1,5})?([/?][!-~]{0,20})?", fullmatch=True
    )
)
def test_what_is_accepted_means_the_same_to_urllib3(raw):
    try:
        url = parse(raw, OPEN, "t")
    except InvalidField:
        return
    seen = parse_url(raw)
    assert seen.scheme == url.scheme
    assert (seen.host or "").strip("[]").removesuffix(".") == url.host
    assert (seen.port or {"https": 443, "http": 80}[url.scheme]) == url.port
