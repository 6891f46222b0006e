"""Compares our rules with the package `ssrfguard`: it allows every address that we allow."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ssrfguard import DEFAULT_DENIED

from app.domain.address import refusal
from tests.support.ssrf_corpus import STRICT

BLOCKS = DEFAULT_DENIED.blocks


def allowed(ip):
    return refusal(ip, scheme="https", port=443, policy=STRICT) is None


@st.composite
def addresses_in(draw, blocks):
    network = draw(st.sampled_from(blocks))
    kind = IPv4Address if network.version == 4 else IPv6Address
    return kind(int(network.network_address) + draw(st.integers(0, network.num_addresses - 1)))


any_address = st.one_of(st.integers(0, 2**32 - 1).map(IPv4Address), st.integers(2**125, 2**126).map(IPv6Address))


@given(st.one_of(any_address, addresses_in([block.network for block in BLOCKS])))
def test_what_is_allowed_is_not_denied_by_another_guard(ip):
    assert not (allowed(ip) and DEFAULT_DENIED.classify(ip).blocked)


@pytest.mark.parametrize("network", [block.network for block in BLOCKS], ids=str)
def test_both_draw_a_border_at_the_same_address(network):
    for number in (-1, 0, network.num_addresses - 1, network.num_addresses):
        value = int(network.network_address) + number
        if 0 <= value < 2**network.max_prefixlen:
            ip = type(network.network_address)(value)
            assert not (allowed(ip) and DEFAULT_DENIED.classify(ip).blocked), ip
