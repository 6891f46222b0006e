"""Which addresses callbacks may go to."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.address import AddressPolicy, refusal

STRICT = AddressPolicy(allow_http=False, allow_ports=frozenset({443, 8443}), allow_networks=())


def naming(*networks):
    return AddressPolicy(False, frozenset({443, 8443}), tuple(ip_network(network) for network in networks))


def judge(text, policy=STRICT, scheme="https", port=443):
    return refusal(ip_address(text), scheme=scheme, port=port, policy=policy)


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("93.184.216.34", None),
        ("2606:2800:220:1:248:1893:25c8:1946", None),
        ("64:ff9b::5db8:d822", None),
        ("127.0.0.1", "address_loopback"),
        ("0.0.0.0", "address_loopback"),
        ("::1", "address_loopback"),
        ("::", "address_loopback"),
        ("::ffff:127.0.0.1", "address_loopback"),
        ("::7f00:1", "address_loopback"),
        ("2002:7f00:1::1", "address_loopback"),
        ("10.0.0.5", "address_private"),
        ("100.64.0.1", "address_private"),
        ("fd12:3456::1", "address_private"),
        ("fe80::1%eth0", "address_private"),
        ("64:ff9b::a00:5", "address_private"),
        ("2606:2800:220:1:0:5efe:a00:5", "address_private"),
        ("2606:2800:220:1:200:5efe:a00:5", "address_private"),
        ("192.0.0.1", "address_reserved"),
        ("192.88.99.1", "address_reserved"),
        ("198.18.0.1", "address_reserved"),
        ("224.0.0.1", "address_reserved"),
        ("255.255.255.255", "address_reserved"),
        ("ff02::1", "address_reserved"),
        ("fec0::1", "address_reserved"),
        ("2001:db8::1", "address_reserved"),
        ("3fff::1", "address_reserved"),
        ("::ffff:93.184.216.34", "address_reserved"),
        ("2002:5db8:d822::1", "address_reserved"),
        ("2606:2800:220:1:0:5efe:5db8:d822", "address_reserved"),
        ("169.254.169.254", "address_metadata"),
        ("168.63.129.16", "address_metadata"),
        ("100.100.100.200", "address_metadata"),
        ("fd00:ec2::254", "address_metadata"),
        ("fd00:ec2::254%eth0", "address_metadata"),
        ("::ffff:169.254.169.254", "address_metadata"),
        ("64:ff9b:1::a9fe:a9fe", "address_metadata"),
        ("2001:0:7f00:1:0:0:5601:5601", "address_metadata"),
    ],
)
def test_an_address_has_one_verdict(address, code):
    assert judge(address) == code


def test_a_public_address_needs_https_and_an_allowed_port():
    assert judge("93.184.216.34", scheme="http") == "scheme_not_allowed"
    assert judge("93.184.216.34", port=25) == "port_not_allowed"
    open_http = AddressPolicy(allow_http=True, allow_ports=frozenset({80}), allow_networks=())
    assert judge("93.184.216.34", open_http, "http", 80) is None


def test_a_named_network_is_open_to_http_and_any_port_but_0():
    policy = naming("10.0.0.0/8", "fd12::/16")
    assert judge("10.0.0.5", policy, "http", 8080) is None
    assert judge("fd12::5", policy, "http", 8080) is None
    assert judge("10.0.0.5", policy, "http", 0) == "port_not_allowed"
    assert judge("192.168.1.1", policy) == "address_private"


def test_a_named_network_does_not_open_what_leads_into_it():
    assert judge("64:ff9b::a00:5", naming("10.0.0.0/8")) == "address_private"
    assert judge("64:ff9b::a00:5", naming("10.0.0.0/8", "64:ff9b::/96")) is None


def test_loopback_is_open_only_if_named_as_such():
    assert judge("127.0.0.1", naming("0.0.0.0/0")) == "address_loopback"
    assert judge("::1", naming("::/0")) == "address_loopback"
    assert judge("127.0.0.1", naming("127.0.0.0/8"), "http", 9000) is None
    assert judge("::1", naming("::1/128"), "http", 9000) is None


@pytest.mark.parametrize("address", ["169.254.169.254", "168.63.129.16", "fd00:ec2::254", "::ffff:169.254.169.254"])
def test_metadata_stays_shut_whatever_is_named(address):
    assert judge(address, naming("0.0.0.0/0", "::/0", "169.254.0.0/16")) == "address_metadata"


addresses = st.one_of(st.integers(0, 2**32 - 1).map(IPv4Address), st.integers(0, 2**128 - 1).map(IPv6Address))


@given(addresses, st.sampled_from(["http", "https"]), st.integers(1, 65535))
def test_no_verdict_on_an_address_rests_on_its_scheme_or_port(ip, scheme, port):
    everything = AddressPolicy(allow_http=True, allow_ports=frozenset(range(65536)), allow_networks=())
    assert refusal(ip, scheme=scheme, port=port, policy=everything) == refusal(
        ip, scheme="https", port=443, policy=STRICT
    )


@given(addresses)
def test_what_is_allowed_is_globally_routable(ip):
    if refusal(ip, scheme="https", port=443, policy=STRICT) is None:
        assert ip.is_global
        assert not ip.is_multicast


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_an_ipv4_address_that_is_shut_is_shut_inside_an_ipv6_address(ip):
    if judge(str(ip)) is None:
        return
    for inside in (f"::ffff:{ip}", f"64:ff9b::{ip}", f"64:ff9b:1::{ip}", f"2606::5efe:{ip}", f"::{ip}"):
        assert judge(inside) is not None
    assert refusal(IPv6Address(0x2002 << 112 | int(ip) << 80 | 1), scheme="https", port=443, policy=STRICT)
