"""`Guard` checks each address before a callback connects to it."""

import socket
from ipaddress import ip_network
from time import monotonic

import pytest

from app.domain.address import AddressPolicy, Endpoint
from app.domain.grant import Grant
from app.transport.client import PUBLIC
from app.transport.sockets import Exchange, connect_anywhere
from app.webhooks.guard import DestinationRefused, Guard

LOOPBACK = AddressPolicy(False, frozenset({443}), (ip_network("127.0.0.0/8"),))


@pytest.fixture
def exchange() -> Exchange:
    return Exchange(monotonic() + 5, 1, connect_anywhere, PUBLIC)


def resolver(*addresses, **others):
    """Resolves the names in `others` to their own addresses or errors, and every other name to `addresses`."""

    def resolve(host, port, call):
        found = others.get(host, addresses)
        if isinstance(found, Exception):
            raise found
        return [(socket.AF_INET, (address, port)) for address in found]

    return resolve


def test_a_connection_goes_to_the_address_that_was_checked(make_subscriber, exchange):
    subscriber = make_subscriber(b"")
    with Guard(LOOPBACK)("http", "localhost", subscriber.port, exchange) as sock:
        assert sock.getpeername() == ("127.0.0.1", subscriber.port)


def test_a_name_with_one_forbidden_address_among_others_is_refused_and_nobody_called(make_subscriber, exchange):
    subscriber = make_subscriber(b"")
    guard = Guard(LOOPBACK, resolve=resolver("127.0.0.1", "10.0.0.5"))
    with pytest.raises(DestinationRefused) as caught:
        guard("http", "bot.example", subscriber.port, exchange)
    assert caught.value.code == "address_private"
    assert not isinstance(caught.value, OSError)
    assert subscriber.requests == []


def test_a_public_address_behind_a_name_still_needs_https_and_an_allowed_port(exchange):
    guard = Guard(LOOPBACK, resolve=resolver("93.184.216.34"))
    for scheme, port, code in (("http", 443, "scheme_not_allowed"), ("https", 25, "port_not_allowed")):
        with pytest.raises(DestinationRefused, match=code):
            guard(scheme, "bot.example", port, exchange)


def test_an_address_that_is_dead_falls_through_to_the_next(make_subscriber, exchange):
    subscriber = make_subscriber(b"")
    guard = Guard(LOOPBACK, resolve=resolver("127.0.0.2", "127.0.0.1"))
    with guard("http", "bot.example", subscriber.port, exchange) as sock:
        assert sock.getpeername()[0] == "127.0.0.1"


def test_a_connection_that_ends_elsewhere_is_refused(make_subscriber, exchange):
    elsewhere, subscriber = make_subscriber(b""), make_subscriber(b"")
    guard = Guard(LOOPBACK, dial=lambda addresses, call: socket.create_connection(("127.0.0.1", elsewhere.port)))
    with pytest.raises(DestinationRefused, match="address_changed"):
        guard("http", "127.0.0.1", subscriber.port, exchange)


def test_a_grant_opens_its_networks_and_nothing_else_that_the_name_leads_to(exchange):
    grant = Grant(frozenset("t"), frozenset(), (ip_network("10.96.0.0/16"),), frozenset(), frozenset())
    policy = AddressPolicy(False, frozenset({443}), (), (grant,))
    reached = []

    def dial(addresses, call):
        reached.extend(addresses)
        raise ConnectionRefusedError

    with pytest.raises(ConnectionRefusedError):
        Guard(policy, (grant,), resolver("10.96.8.8"), dial)("http", "bot.example", 8080, exchange)
    assert reached == [(socket.AF_INET, ("10.96.8.8", 8080))]
    for grants, address in (((), "10.96.8.8"), ((grant,), "10.97.8.8")):
        with pytest.raises(DestinationRefused, match="address_private"):
            Guard(policy, grants, resolver(address), dial)("http", "bot.example", 8080, exchange)


def test_what_is_denied_is_not_reached_by_another_name(make_subscriber, exchange):
    subscriber = make_subscriber(b"")
    others = {"redis.example": ("127.0.0.1",), "gone.example": socket.gaierror(socket.EAI_NONAME, "")}
    denied = tuple(Endpoint(host, subscriber.port) for host in ("gone.example", "redis.example"))
    policy = AddressPolicy(False, frozenset({443}), (ip_network("127.0.0.0/8"),), denied=denied)
    for address in ("127.0.0.1", "127.0.0.2"):  # it may listen on every address of its machine
        with pytest.raises(DestinationRefused, match="host_denied"):
            Guard(policy, (), resolver(address, **others))("http", "bot.example", subscriber.port, exchange)
    assert subscriber.requests == []
    neighbour = make_subscriber(b"")
    Guard(policy, (), resolver("127.0.0.1", **others))("http", "bot.example", neighbour.port, exchange).close()


def test_no_private_network_is_entered_while_it_is_unknown_where_that_is_which_is_denied(make_subscriber, exchange):
    subscriber = make_subscriber(b"")
    policy = AddressPolicy(False, frozenset(), LOOPBACK.allow_networks, denied=(Endpoint("redis.example"),))
    others = {"redis.example": socket.gaierror(socket.EAI_AGAIN, "")}
    with pytest.raises(socket.gaierror):
        Guard(policy, (), resolver("127.0.0.1", **others))("http", "bot.example", subscriber.port, exchange)


def test_a_public_address_needs_no_lookup_of_what_is_denied(exchange):
    policy = AddressPolicy(False, frozenset({443}), (), denied=(Endpoint("redis.example"),))
    others = {"redis.example": socket.gaierror(socket.EAI_AGAIN, "")}

    def dial(addresses, call):
        raise ConnectionRefusedError

    with pytest.raises(ConnectionRefusedError):
        Guard(policy, (), resolver("93.184.216.34", **others), dial)("https", "bot.example", 443, exchange)
