"""The door to addresses that strangers name."""

import socket
from ipaddress import ip_network

import pytest

from app.domain.address import AddressPolicy
from app.webhooks.guard import Guard, Refused

LOOPBACK = AddressPolicy(False, frozenset({443}), (ip_network("127.0.0.0/8"),))


def left():
    return 5.0


def names(*addresses):
    """A lookup that gives these addresses, whatever the name."""
    return lambda host, port, left: [(socket.AF_INET, (address, port)) for address in addresses]


def test_a_connection_goes_to_the_address_that_was_checked(subscribe):
    subscriber = subscribe(b"")
    with Guard(LOOPBACK)("http", "localhost", subscriber.port, left) as sock:
        assert sock.getpeername() == ("127.0.0.1", subscriber.port)


def test_a_name_with_one_forbidden_address_among_others_is_refused_and_nobody_called(subscribe):
    subscriber = subscribe(b"")
    guard = Guard(LOOPBACK, resolve=names("127.0.0.1", "10.0.0.5"))
    with pytest.raises(Refused) as caught:
        guard("http", "bot.example", subscriber.port, left)
    assert caught.value.code == "address_private"
    assert not isinstance(caught.value, OSError)
    assert subscriber.requests == []


def test_a_public_address_behind_a_name_still_needs_https_and_an_allowed_port():
    guard = Guard(LOOPBACK, resolve=names("93.184.216.34"))
    for scheme, port, code in (("http", 443, "scheme_not_allowed"), ("https", 25, "port_not_allowed")):
        with pytest.raises(Refused, match=code):
            guard(scheme, "bot.example", port, left)


def test_an_address_that_is_dead_falls_through_to_the_next(subscribe):
    subscriber = subscribe(b"")
    guard = Guard(LOOPBACK, resolve=names("127.0.0.2", "127.0.0.1"))
    with guard("http", "bot.example", subscriber.port, left) as sock:
        assert sock.getpeername()[0] == "127.0.0.1"


def test_a_connection_that_ends_elsewhere_is_refused(subscribe):
    elsewhere, subscriber = subscribe(b""), subscribe(b"")
    guard = Guard(LOOPBACK, dial=lambda addresses, left: socket.create_connection(("127.0.0.1", elsewhere.port)))
    with pytest.raises(Refused, match="address_changed"):
        guard("http", "127.0.0.1", subscriber.port, left)
