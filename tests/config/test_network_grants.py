"""The grants file."""

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.bootstrap.runtime import Runtime
from app.config.network_grants import read_grants
from app.config.settings import load
from app.domain.errors import OperatorError
from app.domain.grant import TlsFiles
from tests.support.paths import ROOT

GUIDE = ROOT / "docs" / "settings.md"
GOOD: dict[str, Any] = {
    "tenants": ["team-b"],
    "hosts": ["Bot.team-b.svc.cluster.local"],
    "networks": ["10.96.0.0/16"],
    "ports": [8080],
    "schemes": ["http"],
}
TLS = {"ca_file": "/ca.pem"}


@pytest.fixture
def grants_file(tmp_path: Path) -> Path:
    return tmp_path / "grants.yaml"


def write_grant(grants_file: Path, grant: Any) -> Path:
    grants_file.write_text(yaml.safe_dump({"grants": {"b": grant}}), encoding="utf-8")
    return grants_file


def test_the_example_of_the_guide_is_read(grants_file: Path) -> None:
    grants_file.write_text(GUIDE.read_text(encoding="utf-8").split("```yaml\n")[2].split("```")[0], encoding="utf-8")
    bots, partner = read_grants(grants_file).values()
    assert bots.networks == (ip_network("10.96.0.0/16"),)
    assert (bots.tenants, bots.ports, bots.schemes, bots.tls) == ({"team-b"}, {8080}, {"http"}, None)
    assert partner.networks == ()
    assert partner.tls == TlsFiles(ca="/etc/bridge/partner-ca.pem", certificate="/run/secrets/bridge.pem")


def test_a_file_without_grants_grants_nothing(grants_file: Path) -> None:
    grants_file.write_text("grants: {}", encoding="utf-8")
    assert read_grants(grants_file) == {}


def test_hosts_are_as_urls_have_them(grants_file: Path) -> None:
    [grant] = read_grants(
        write_grant(grants_file, GOOD | {"hosts": ["BOT.example", "*.b.Example", "N8N", "10.0.0.1", "fd12::1"]})
    ).values()
    assert grant.hosts == {"bot.example", "*.b.example", "n8n", "10.0.0.1", "fd12::1"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tenants": []}, "grants.b.tenants: "),
        ({"hosts": []}, "grants.b.hosts: "),
        ({"ports": []}, "grants.b.ports: "),
        ({"ports": [0]}, "grants.b.ports.0: "),
        ({"ports": [65536]}, "grants.b.ports.0: "),
        ({"schemes": ["ftp"]}, "grants.b.schemes.0: "),
        ({"hosts": ["http://bot.example"]}, "grants.b.hosts.0: give a name"),
        ({"hosts": ["bot.example:80"]}, "grants.b.hosts.0: give a name"),
        ({"hosts": ["10.0.0.1:80"]}, "grants.b.hosts.0: give a name"),
        ({"hosts": ["bot.example."]}, "grants.b.hosts.0: give a name"),
        ({"hosts": ["*"]}, "grants.b.hosts.0: give a name"),
        ({"hosts": ["*.local"]}, "grants.b.hosts.0: give a name"),
        ({"hosts": ["n8n."]}, "grants.b.hosts.0: give a name"),
        ({"hosts": ["fd12::0"]}, "grants.b.hosts.0: give a name"),
        ({"networks": ["10.0.0.1/8"]}, "grants.b.networks.0: give a network"),
        ({"networks": [10]}, "grants.b.networks.0: give a network"),
        ({"networks": ["127.0.0.0/8"]}, "grants.b.networks.0: loopback cannot be granted"),
        ({"networks": ["::1/128"]}, "grants.b.networks.0: loopback cannot be granted"),
        ({"networks": []}, "grants.b: grants nothing"),
        ({"network": ["10.0.0.0/8"]}, "grants.b.network: unknown"),
        ({"tls": TLS}, "grants.b: tls needs https"),
        ({"tls": {}, "schemes": ["https"]}, "grants.b.tls: give ca_file, certificate_file or both"),
        ({"tls": TLS | {"key_file": "/k"}, "schemes": ["https"]}, "grants.b.tls: key_file needs certificate_file"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(grants_file: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(OperatorError) as refused:
        read_grants(write_grant(grants_file, GOOD | change))
    assert str(refused.value).startswith(f"{grants_file}: {message}")


@pytest.mark.parametrize("missing", sorted(GOOD))
def test_a_grant_names_everything_that_must_match(grants_file: Path, missing: str) -> None:
    with pytest.raises(OperatorError, match=rf"grants\.b\.{missing}: is missing"):
        read_grants(write_grant(grants_file, {name: value for name, value in GOOD.items() if name != missing}))


def test_grants_are_the_very_same_while_their_file_is(grants_file: Path) -> None:
    """Kept-alive connections are distinguished by their grants, so a reload of the same file must not make new ones."""
    runtime = Runtime(load({"BRIDGE_GRANTS_FILE": str(write_grant(grants_file, GOOD))}), environment={})
    policy = runtime.config.address_policy
    runtime.reload()
    assert runtime.config.address_policy is policy
    write_grant(grants_file, GOOD | {"ports": [8081]})
    assert runtime.config.address_policy is policy
    runtime.reload()
    assert runtime.config.address_policy.grants[0].ports == {8081}


def test_a_sender_is_not_built_from_a_file_that_is_wrong_but_keeps_the_last_good_one(grants_file: Path) -> None:
    runtime = Runtime(load({"BRIDGE_GRANTS_FILE": str(grants_file)}), environment={})
    with pytest.raises(OperatorError, match="cannot read"):
        runtime.sender.close()
    write_grant(grants_file, GOOD)
    policy = runtime.config.address_policy
    grants_file.write_text("grants: [", encoding="utf-8")
    runtime.reload()
    assert runtime.config.address_policy is policy
