"""What an operator's grant allows."""

from ipaddress import ip_address, ip_network

import pytest

from app.domain.address import AddressPolicy, Endpoint, leads_to, refusal
from app.domain.callback_url import parse
from app.domain.errors import InvalidField
from app.domain.grant import Grant, TlsFiles

BOT = "bot.team-b.svc.cluster.local"
GRANT = Grant(
    tenants=frozenset({"team-b"}),
    hosts=frozenset({"*.team-b.svc.cluster.local", "10.96.8.9"}),
    networks=(ip_network("10.96.0.0/16"), ip_network("::/0"), ip_network("0.0.0.0/1")),
    ports=frozenset({8080}),
    schemes=frozenset({"http"}),
)
POLICY = AddressPolicy(False, frozenset({443}), (), (GRANT,), (Endpoint("shut.team-b.svc.cluster.local"),))
MATCHING = {"tenant": "team-b", "scheme": "http", "host": BOT, "port": 8080}


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        ({}, True),
        ({"host": "10.96.8.9"}, True),
        ({"host": "a.b.team-b.svc.cluster.local"}, True),
        ({"tenant": "team-c"}, False),
        ({"scheme": "https"}, False),
        ({"port": 8081}, False),
        ({"host": "team-b.svc.cluster.local"}, False),
        ({"host": "bot-team-b.svc.cluster.local"}, False),
        ({"host": "10.96.8.8"}, False),
    ],
)
def test_a_grant_holds_only_if_everything_matches(change, holds):
    assert (POLICY.grants_for(**MATCHING | change) == (GRANT,)) is holds


def test_a_url_that_is_granted_is_accepted_for_its_tenant_alone():
    url = f"http://{BOT}:8080/hook"
    assert parse(url, POLICY, "team-b").grants == (GRANT,)
    with pytest.raises(InvalidField, match="scheme_not_allowed"):
        parse(url, POLICY, "team-c")


def test_a_name_without_a_dot_can_be_granted_to_one_tenant():
    grant = Grant(
        tenants=frozenset({"team-b"}),
        hosts=frozenset({"n8n"}),
        networks=(ip_network("172.16.0.0/12"),),
        ports=frozenset({5678}),
        schemes=frozenset({"http"}),
    )
    policy = AddressPolicy(False, frozenset({443}), (), (grant,))
    assert parse("http://n8n:5678/x", policy, "team-b").grants == (grant,)
    for tenant, url in (("team-c", "http://n8n:5678/x"), ("team-b", "http://n8n:5679/x"), ("team-b", "http://redis/")):
        with pytest.raises(InvalidField, match="full name") as refused:
            parse(url, policy, tenant)
        assert "grant" in refused.value.hint


def test_a_grant_of_certificates_alone_opens_no_short_name():
    grant = Grant(frozenset({"t"}), frozenset({"n8n"}), (), frozenset({443}), frozenset({"https"}), TlsFiles(ca="/ca"))
    with pytest.raises(InvalidField, match="full name"):
        parse("https://n8n/x", AddressPolicy(False, frozenset({443}), (), (grant,)), "t")


def test_an_address_in_a_url_is_judged_by_the_grants_that_hold_for_it():
    assert parse("http://10.96.8.9:8080/", POLICY, "team-b").grants == (GRANT,)
    for url in ("http://10.96.8.8:8080/", "http://10.96.8.9:8081/"):
        with pytest.raises(InvalidField, match="address_private"):
            parse(url, POLICY, "team-b")


def test_what_is_denied_is_refused_whatever_is_granted():
    with pytest.raises(InvalidField, match="host_denied"):
        parse("http://shut.team-b.svc.cluster.local:8080/", POLICY, "team-b")


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("10.96.8.8", None),
        ("fd12::1", None),
        ("192.168.0.1", "address_private"),
        ("127.0.0.1", "address_loopback"),
        ("::1", "address_loopback"),
        ("169.254.169.254", "address_metadata"),
        ("fd00:ec2::254", "address_metadata"),
    ],
)
def test_a_grant_opens_its_networks_but_neither_loopback_nor_metadata(address, code):
    assert refusal(ip_address(address), scheme="http", port=8080, policy=POLICY, grants=(GRANT,)) == code
    assert refusal(ip_address(address), scheme="http", port=8080, policy=POLICY) is not None


@pytest.mark.parametrize(
    ("ip", "other", "leads"),
    [
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "64:ff9b::a00:1", True),
        ("127.0.0.1", "127.0.0.2", True),
        ("::1", "127.0.0.1", True),
        ("0.0.0.0", "127.0.0.1", True),
    ],
)
def test_an_address_leads_to_another_in_whatever_form(ip, other, leads):
    assert leads_to(ip_address(ip), [ip_address(other)]) is leads


def test_a_host_is_denied_on_its_port_or_on_all():
    policy = AddressPolicy(True, frozenset(), (), denied=(Endpoint("a.example"), Endpoint("b.example", 6379)))
    assert policy.denies("a.example", 1)
    assert policy.denies("b.example", 6379)
    assert not policy.denies("b.example", 443)
