"""Parsing and masking callback URLs."""

from ipaddress import ip_network
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.address import AddressPolicy
from app.domain.callback_url import mask, parse
from app.domain.errors import InvalidField

STRICT = AddressPolicy(allow_http=False, allow_ports=frozenset({443, 8443}), allow_networks=())
CLUSTER = AddressPolicy(False, frozenset({443, 8443}), (ip_network("10.0.0.0/8"), ip_network("127.0.0.0/8")))


LOCAL = AddressPolicy(False, frozenset({443, 8443}), (ip_network("127.0.0.0/8"), ip_network("::1/128")))
LOCAL_V6 = AddressPolicy(False, frozenset({443, 8443}), (ip_network("::1/128"),))
FULL_NAME = "host must be a full name such as bot.example, or an address"
SHORT_NAME = "a short name needs a network grant, or BRIDGE_ALLOW_NETWORKS, for its address: ask the operator"
PERCENT_ENCODED = "https://…, with every character that URLs do not allow percent-encoded"
ASCII_HOST = "a host of ASCII letters, digits, hyphens and dots; write an international name in its form with xn--"


def refusal(raw, policy):
    with pytest.raises(InvalidField) as caught:
        parse(raw, policy, "t")
    assert caught.value.pointer == "/callback_url"
    return caught.value


def refused(raw, policy=STRICT):
    return refusal(raw, policy).detail


def hint(raw, policy=STRICT):
    return refusal(raw, policy).hint


def test_a_url_is_kept_byte_for_byte_and_taken_apart():
    url = parse("HTTPS://Bot.Example.:8443/Hooks/%2e%2fX?token=s3cret", STRICT, "t")
    assert url.raw == "HTTPS://Bot.Example.:8443/Hooks/%2e%2fX?token=s3cret"
    assert (url.scheme, url.host, url.port, url.origin) == (
        "https",
        "bot.example",
        8443,
        "https://bot.example:8443",
    )


@pytest.mark.parametrize(
    ("raw", "origin", "prefix"),
    [
        ("https://bot.example/hooks/s3cret", "https://bot.example:443", "https://bot.example/…"),
        ("https://bot.example:8443/s3cret", "https://bot.example:8443", "https://bot.example:8443/…"),
        ("https://bot.example?s3cret", "https://bot.example:443", "https://bot.example/…"),
        ("https://[2606:2800::1]/s3cret", "https://[2606:2800::1]:443", "https://[2606:2800::1]/…"),
        ("https://93.184.216.34", "https://93.184.216.34:443", "https://93.184.216.34/…"),
    ],
)
def test_a_url_is_shown_without_what_makes_it_a_credential(raw, origin, prefix):
    url = parse(raw, STRICT, "t")
    assert url.origin == origin
    assert mask(url.raw, url.origin).startswith(prefix)
    assert len(mask(url.raw, url.origin)) == len(prefix) + 4
    assert "s3cret" not in mask(url.raw, url.origin) + repr(url)


def test_two_urls_of_one_host_are_told_apart():
    origin = "https://bot.example:443"
    assert mask("https://bot.example/a", origin) != mask("https://bot.example/b", origin)


@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        ("https://bot.example/" + "a" * 2029, "longer than 2048 characters"),
        ("https://bot.example/#a", "has a fragment"),
        ("https://bot.example/a b", "not a URL"),
        ("https://bot.example\\@10.0.0.5/", "not a URL"),
        ("https://bot.example/a\r\nX: y", "not a URL"),
        ("https://bot.example/%zz", "not a URL"),
        ("https://bót.example/", "not a URL"),
        ("https:bot.example", "not a URL"),
        ("bot.example/hook", "not a URL"),
        ("ftp://bot.example/", "must begin with https://"),
        ("https://user:word@bot.example/", "has a user name or password in it"),
        ("https://bot.example:/", "host or port is malformed"),
        ("https://bot.example:0443/", "host or port is malformed"),
        ("https://bot.example:65536/", "host or port is malformed"),
        ("https://bot.example:1:2/", "host or port is malformed"),
        ("https://[::1/", "host or port is malformed"),
        ("https:///path", "host must be a full name such as bot.example, or an address"),
        ("https://redis/", "host must be a full name such as bot.example, or an address"),
        ("https://localhost./", "host must be a full name such as bot.example, or an address"),
        ("https://bot..example/", "host must be a full name such as bot.example, or an address"),
        ("https://-bot.example/", "host must be a full name such as bot.example, or an address"),
        ("https://bot.%65xample/", "host must be a full name such as bot.example, or an address"),
        (f"https://{'a' * 64}.example/", "host must be a full name such as bot.example, or an address"),
        (f"https://{'a.' * 130}example/", "host must be a full name such as bot.example, or an address"),
        ("https://2130706433/", "host is an address in an unusual spelling"),
        ("https://0x7f.1/", "host is an address in an unusual spelling"),
        ("https://0177.0.0.1/", "host is an address in an unusual spelling"),
        ("https://127.0.0.1./", "host is an address in an unusual spelling"),
        ("https://a.0x/", "host is an address in an unusual spelling"),
        ("https://[0:0::1]/", "host is an address in an unusual spelling"),
        ("https://[fe80::1%25eth0]/", "host is an address in an unusual spelling"),
        ("https://[::vv]/", "host is not an IPv6 address"),
        ("http://bot.example/", "not allowed here: scheme_not_allowed"),
        ("https://bot.example:25/", "not allowed here: port_not_allowed"),
        ("https://bot.example:0/", "not allowed here: port_not_allowed"),
        ("https://10.0.0.5/", "not allowed here: address_private"),
        ("https://[::1]/", "not allowed here: address_loopback"),
        ("https://169.254.169.254/", "not allowed here: address_metadata"),
    ],
)
def test_a_url_that_callbacks_may_not_go_to_says_why(raw, detail):
    assert refused(raw) == detail


def test_a_url_of_2048_characters_is_not_too_long():
    assert parse("https://bot.example/" + "a" * 2028, STRICT, "t")


def test_a_named_network_opens_its_addresses_to_http_and_any_port():
    assert parse("http://10.0.0.5:8080/", CLUSTER, "t").port == 8080
    assert parse("http://127.0.0.1:9000/", CLUSTER, "t").origin == "http://127.0.0.1:9000"
    assert refused("http://192.168.0.1/", CLUSTER) == "not allowed here: address_private"


def test_a_name_that_may_lead_into_a_named_network_is_judged_on_connecting():
    assert parse("http://bot.team-b.svc.cluster.local:8080/", CLUSTER, "t").port == 8080
    assert refused("https://bot.example:0/", CLUSTER) == "not allowed here: port_not_allowed"


@pytest.mark.parametrize(
    ("raw", "form"),
    [
        ("https://bücher.example/h", "https://xn--bcher-kva.example/h"),
        ("https://BÜCHER.example./h", "https://xn--bcher-kva.example/h"),
        ("https://bücher.example:8443?a", "https://xn--bcher-kva.example:8443?a"),
        ("HTTPS://b%C3%BCcher.example/h", "https://xn--bcher-kva.example/h"),
        ("https://例え.テスト/ü", "https://xn--r8jz45g.xn--zckzah/%C3%BC"),
        ("https://bot。example/h", "https://bot.example/h"),
        ("https://ｂｏｔ.example/h", "https://bot.example/h"),
        ("https://bot\u200b.example/h", "https://bot.example/h"),
        ("https://bot.%65xample/", "https://bot.example/"),
    ],
)
def test_an_international_name_is_refused_with_the_form_that_is_accepted(raw, form):
    assert hint(raw) == f"write {form}"
    assert parse(form, STRICT, "t").raw == form


def test_a_hint_repeats_no_path_that_may_be_a_credential():
    raw = "https://bücher.example/services/s3cret"
    assert hint(raw) == "write https://xn--bcher-kva.example/…"
    assert "s3cret" not in str(refusal(raw, STRICT))


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("https://straße.example/", ASCII_HOST),  # IDNA 2003 has strasse.example for it, IDNA 2008 another name
        ("https://bot\u200d.example/", ASCII_HOST),
        ("https://bücher/", ASCII_HOST),
        ("https://１２７.0.0.1/", ASCII_HOST),
        ("https://℀.example/", ASCII_HOST),
        (f"https://{'ü' * 60}.example/", ASCII_HOST),
        ("https://bot .example/", ASCII_HOST),
        (" https://bot.example/", "leave out the spaces around it"),
        ("https://bot.example/größe", PERCENT_ENCODED),
        ("https://me@bücher.example/", PERCENT_ENCODED),
        ("bücher.example", PERCENT_ENCODED),
        ("https://-bot.example/", None),
    ],
)
def test_another_host_gets_no_form_that_might_be_another_name(raw, words):
    assert hint(raw) == words


def test_a_name_without_a_dot_is_accepted_once_a_network_is_open():
    """`http://n8n:5678/x` between containers; its address is judged on connecting."""
    assert parse("http://N8N:5678/x", CLUSTER, "t").origin == "http://n8n:5678"
    assert (refused("http://n8n:5678/x"), hint("http://n8n:5678/x")) == (FULL_NAME, SHORT_NAME)
    assert refused("https://n8n:0/", CLUSTER) == "not allowed here: port_not_allowed"
    assert refused("https://-/", CLUSTER) == FULL_NAME


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "api.localhost"])
def test_localhost_is_accepted_where_both_addresses_are_that_it_may_have(host):
    url = f"http://{host}:3000/hook"
    assert parse(url, LOCAL, "t").port == 3000
    assert (refused(url, CLUSTER), hint(url, CLUSTER)) == (FULL_NAME, "127.0.0.1 instead of localhost")
    assert hint(url, LOCAL_V6) == "[::1] instead of localhost"
    assert hint(url) == "localhost is the bridge itself: give another name"


def test_http_is_on_port_80_unless_it_says_otherwise():
    policy = AddressPolicy(allow_http=True, allow_ports=frozenset({80}), allow_networks=())
    assert parse("http://bot.example/", policy, "t").origin == "http://bot.example:80"


@given(st.binary())
def test_no_text_is_a_surprise(raw):
    with pytest.raises(InvalidField):
        parse(raw.decode("latin-1"), STRICT, "t")


@given(st.from_regex(r"https://[\[\]A-Z0-9a-z.:@_%-]{1,20}\.[a-z]{2,5}[/?:@\\]?[!-~]{0,20}", fullmatch=True))
def test_what_is_accepted_leads_where_the_standard_library_says(raw):
    try:
        url = parse(raw, STRICT, "t")
    except InvalidField:
        return
    parts = urlsplit(raw)
    assert (parts.hostname or "").removesuffix(".") == url.host
    assert (parts.port or 443) == url.port
    assert parts.username is None
