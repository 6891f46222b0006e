"""Each role only gets the secrets, and only reaches the networks, that its work needs."""

import json
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from tests.helm.test_chart_objects import selected_components
from tests.support.rendered_chart import ROLES, Rendered, merged, render, values_of

pytestmark = pytest.mark.slow  # skipped on laptops: Helm and the validators take a gigabyte


@pytest.fixture
def production() -> Rendered:
    return render(values_of("production"))


def test_the_clouds_credentials_are_given_to_the_poller_alone(production: Rendered) -> None:
    cloud = {("cph", key) for key in ("password", "sk", "ak", "st")}
    assert production.secrets_of("poller") & cloud == cloud
    for role in ("api", "sender"):
        assert {secret for secret in production.secrets_of(role) if secret[0] == "cph"} == set()


def test_each_role_gets_what_its_work_needs(production: Rendered) -> None:
    both = {("bridge", "redis-url"), ("bridge", "secret-keys"), ("redis-ca", "ca.crt"), ("more", "*")}
    calls = {("bridge", key) for key in ("signing-keys", "operator-url", "operator-secret")}
    calls |= {("partner", key) for key in ("ca.crt", "tls.crt", "tls.key")}
    assert production.secrets_of("api") == both | calls | {("bridge", "bootstrap-key")}
    assert production.secrets_of("sender") == both | calls
    assert {secret for secret in production.secrets_of("poller") if secret[0] != "cph"} == both


def test_a_bundled_redis_has_a_password_and_keys_that_only_a_secret_holds() -> None:
    rendered = render(values_of("trial"))
    secret_object = rendered.one("Secret", "-made")
    assert secret_object["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    data = secret_object["stringData"]
    assert len(data["redis-password"]) == 40
    rest = json.dumps([found for found in rendered.objects if found != secret_object])
    assert data["redis-password"] not in rest
    assert data["secret-keys"].removeprefix("k1:") not in rest


class Rules:
    """A role's egress rules, evaluated as the network does."""

    def __init__(self, rendered: Rendered, role: str) -> None:
        self.rendered = rendered
        self.rules = rendered.one("NetworkPolicy", f"-{role}")["spec"]["egress"]

    def reaches(self, address: str, port: int, protocol: str = "TCP") -> bool:
        return any(self._lets_pass(rule, address, port, protocol) for rule in self.rules)

    def reaches_pods(self) -> set[str]:
        selectors = [peer["podSelector"] for rule in self.rules for peer in rule.get("to", []) if "podSelector" in peer]
        return set().union(*(selected_components(self.rendered, selector) for selector in selectors))

    @staticmethod
    def _lets_pass(rule: dict[str, Any], address: str, port: int, protocol: str) -> bool:
        ports = rule.get("ports")
        if ports and (protocol, port) not in {(each["protocol"], each["port"]) for each in ports}:
            return False
        blocks = [peer["ipBlock"] for peer in rule.get("to", []) if "ipBlock" in peer]
        within = lambda network: ip_address(address) in ip_network(network)  # noqa: E731
        return "to" not in rule or any(
            within(block["cidr"]) and not any(map(within, block.get("except", []))) for block in blocks
        )


PUBLIC = "93.184.216.34"
INTERNAL = [
    "10.96.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "127.0.0.1",
    "100.100.100.200",
    "fd00::1",
    "fe80::1",
    "64:ff9b::a00:1",
]


def test_the_sender_reaches_the_internet_and_nothing_near() -> None:
    sender = Rules(render(values_of("trial")), "sender")
    assert all(sender.reaches(address, 443) for address in (PUBLIC, "2606:2800:220:1:248:1893:25c8:1946"))
    assert not sender.reaches(PUBLIC, 80)
    assert [address for address in INTERNAL if sender.reaches(address, 443)] == []
    assert sender.reaches("169.254.20.10", 53, "UDP")
    assert sender.reaches_pods() == {"redis"}


def test_what_is_granted_opens_the_network_too(production: Rendered) -> None:
    sender = Rules(production, "sender")
    assert sender.reaches("10.96.3.4", 8080)
    assert not sender.reaches("10.96.3.4", 8081)
    assert sender.reaches("10.20.3.4", 12_345)
    assert sender.reaches(PUBLIC, 80)
    assert not sender.reaches("169.254.169.254", 80)


@pytest.mark.parametrize(("values", "may"), [({}, True), ({"api": {"testCallbacks": False}}, False)])
def test_the_api_calls_receivers_only_if_it_may(values: dict[str, Any], may: bool) -> None:
    api = Rules(render(merged(values_of("trial"), values)), "api")
    assert api.reaches(PUBLIC, 443) is may
    assert not api.reaches("10.96.0.1", 443)
    assert api.reaches_pods() == {"redis"}


def test_the_poller_reaches_cph_and_the_metadata_service_only_for_its_keys(production: Rendered) -> None:
    assert Rules(production, "poller").reaches("169.254.169.254", 80)
    poller = Rules(render(values_of("trial")), "poller")
    assert poller.reaches(PUBLIC, 443)
    assert not poller.reaches(PUBLIC, 8443)
    assert [address for address in INTERNAL if poller.reaches(address, 443) or poller.reaches(address, 80)] == []
    to = [{"ipBlock": {"cidr": "10.9.0.0/16"}}]
    at_home = Rules(render(merged(values_of("trial"), {"networkPolicy": {"cphTo": to}})), "poller")
    assert at_home.reaches("10.9.8.7", 443)
    assert not at_home.reaches(PUBLIC, 443)


@pytest.mark.parametrize(
    ("endpoints", "port"),
    [
        ({"endpoint": "https://cph.example:8443"}, 8443),
        ({"endpoint": "http://cph.example"}, 80),
        ({"endpoint": "https://[2001:db8::1]:8444/"}, 8444),
        ({"region": "ap-southeast-1", "iamEndpoint": "https://iam.example:8445"}, 8445),
        ({"region": "ap-southeast-1", "proxy": "http://proxy.example:8445"}, 8445),
    ],
    ids=str,
)
def test_the_poller_reaches_the_ports_that_its_endpoints_name(endpoints: dict[str, str], port: int) -> None:
    project = {"region": None} | endpoints
    poller = Rules(render(merged(values_of("trial"), {"projects": {"default": project}})), "poller")
    assert [each for each in (80, 443, 8443, 8444, 8445) if poller.reaches(PUBLIC, each)] == sorted({443, port})


def test_an_issuer_and_a_collector_that_are_near_are_reached_once_they_are_let_through() -> None:
    ports = [{"protocol": "TCP", "port": port} for port in (443, 4318)]
    more = {"networkPolicy": {"extraEgress": [{"to": [{"ipBlock": {"cidr": "10.7.0.0/16"}}], "ports": ports}]}}
    closed, opened = render(values_of("trial")), render(merged(values_of("trial"), more))
    for role in ROLES:
        for port in (443, 4318):
            assert not Rules(closed, role).reaches("10.7.0.1", port)
            assert Rules(opened, role).reaches("10.7.0.1", port)
    assert not Rules(opened, "test").reaches("10.7.0.1", 443)


def test_redis_is_reached_at_its_own_port_and_the_sentinels() -> None:
    for role in ROLES:
        rules = Rules(render(values_of("sentinel")), role)
        assert all(rules.reaches("10.1.1.1", port) for port in (6379, 26_379))
        assert not rules.reaches("10.1.1.1", 6380)


def test_only_the_bridge_reaches_a_bundled_redis() -> None:
    rendered = render(values_of("trial"))
    spec = rendered.one("NetworkPolicy", "-redis")["spec"]
    (rule,) = spec["ingress"]
    (peer,) = rule["from"]
    assert selected_components(rendered, peer["podSelector"]) == set(ROLES)
    assert spec["egress"] == []


def test_helm_test_reaches_the_api_and_nothing_else_whoever_else_may() -> None:
    rendered = render(merged(values_of("trial"), {"networkPolicy": {"apiFrom": [{"namespaceSelector": {}}]}}))
    test = Rules(rendered, "test")
    assert test.reaches_pods() == {"api"}
    assert not test.reaches(PUBLIC, 443)
    assert rendered.one("NetworkPolicy", "-test")["spec"]["ingress"] == []
    (rule,) = (
        each for each in rendered.one("NetworkPolicy", "-api")["spec"]["ingress"] if len(each.get("from", [])) > 1
    )
    assert [port["port"] for port in rule["ports"]] == ["http"]
    anybody, tester = rule["from"]
    assert anybody == {"namespaceSelector": {}}
    assert selected_components(rendered, tester["podSelector"]) == {"test"}


def test_workers_are_reached_for_metrics_alone() -> None:
    off = render(merged(values_of("trial"), {"metrics": {"enabled": False}}))
    for role in ("poller", "sender"):
        (rule,) = render(values_of("trial")).one("NetworkPolicy", f"-{role}")["spec"]["ingress"]
        assert [port["port"] for port in rule["ports"]] == ["metrics"]
        assert off.one("NetworkPolicy", f"-{role}")["spec"]["ingress"] == []


def hardened(pod: dict[str, Any]) -> bool:
    spec = pod["spec"]
    own, (container,) = spec["securityContext"], spec["containers"]
    inner = container["securityContext"]
    return (
        own["runAsNonRoot"] is True
        and own["runAsUser"] > 10_000
        and own["seccompProfile"] == {"type": "RuntimeDefault"}
        and inner
        == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        and spec["automountServiceAccountToken"] is False
        and {"cpu", "memory"} <= set(container["resources"]["requests"])
        and "memory" in container["resources"]["limits"]
    )


def test_no_pod_may_do_more_than_it_needs(production: Rendered) -> None:
    pods = [*production.every_pod(), *render(values_of("trial")).every_pod()]
    assert all(hardened(pod) for pod in pods)
