"""Every value has an effect: each one that the chart offers is changed somewhere, and found in the rendered objects."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import yaml

from tests.helm.generated import CHART
from tests.helm.test_chart_files import leaves
from tests.helm.test_chart_objects import FLAGS, NEWEST, check_fields
from tests.support.rendered_chart import CI_VALUES, Object, merged, render, values_of

pytestmark = pytest.mark.slow  # skipped on laptops: Helm and the validators take a gigabyte


def resources(number: int) -> dict[str, Any]:
    return {
        "requests": {"cpu": f"{number}m", "memory": f"{number + 1}Mi"},
        "limits": {"memory": f"{number + 2}Mi"},
    }


def pods(role: str, number: int) -> dict[str, Any]:
    return {
        "replicas": number,
        "terminationGracePeriodSeconds": number * 10,
        "resources": resources(number * 100),
        "serviceAccount": {"annotations": {"of": f"account-of-{role}"}},
        "podAnnotations": {"of": f"pods-of-{role}"},
        "extraEnv": [{"name": f"ONLY_{role.upper()}", "value": f"env-of-{role}"}],
        "extraEnvFrom": [{"configMapRef": {"name": f"more-of-{role}"}}],
    }


def from_namespace(name: str) -> list[dict[str, Any]]:
    return [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}]


# Values that are merged into which of the `ci/*-values.yaml`. No two are equal, so each is found by itself.
OTHER: dict[str, tuple[str, dict[str, Any]]] = {
    "pods": (
        "trial",
        {
            "nameOverride": "calls",
            "image": {"tag": "some-tag", "pullPolicy": "Always"},
            "api": pods("api", 41)
            | {
                "bindAddress": "[::]",
                "port": 8041,
                "probePort": 8042,
                "preStopSeconds": 44,
                "service": {"port": 8043, "annotations": {"of": "service"}},
            },
            "poller": pods("poller", 45),
            "sender": pods("sender", 47) | {"dnsConfig": {"options": [{"name": "ndots", "value": "48"}]}},
            "metrics": {"port": 9049},
            "tenants": {"team-a": {"projects": ["default"], "quotas": {"registrations": 49_001}}},
        },
    ),
    "redis": (
        "trial",
        {
            "clusterDomain": "cluster.example",
            "redis": {
                "bundled": {
                    "image": {"repository": "mirror.example/valkey", "tag": "7.2.1"},
                    "port": 6351,
                    "maxmemory": "352mb",
                    "persistence": {"size": "53Gi", "storageClass": "disks-of-54"},
                    "resources": resources(5_500),
                }
            },
        },
    ),
    "digest": ("trial", {"redis": {"bundled": {"image": {"digest": f"sha256:{'5' * 64}"}}}}),
    "policies": (
        "sentinel",
        {
            "fullnameOverride": "whole-name",
            "redis": {
                "sentinel": {
                    "username": "user-of-sentinels",
                    "passwordSecret": {"name": "of-sentinels", "key": "key-of-sentinels"},
                }
            },
            "networkPolicy": {
                "apiFrom": from_namespace("gateways"),
                "metricsFrom": from_namespace("monitoring"),
                "redisTo": from_namespace("place-of-redis"),
                "cphPorts": [4461],
                "extraEgress": [{"to": from_namespace("telemetry"), "ports": [{"protocol": "TCP", "port": 4318}]}],
                "closed": ["10.62.0.0/16"],
                "closed6": ["fd63::/16"],
            },
        },
    ),
    "near": ("sentinel", {"networkPolicy": {"cphTo": [{"ipBlock": {"cidr": "10.64.0.0/16"}}]}}),
    "hpa": (
        "parts",
        {role: {"autoscaling": {"min": n, "max": n + 1, "cpu": n + 2}} for role, n in (("api", 71), ("poller", 74))}
        | {
            "sender": {"autoscaling": {"min": 77, "max": 78, "cpu": 79}},
            "httpRoute": {"annotations": {"of": "route"}},
            "redis": {"database": 13, "passwordSecret": {"key": "key-of-redis"}},
        },
    ),
    "keda": (
        "production",
        {
            "poller": {"autoscaling": {"max": 81, "due": 8_201}},
            "sender": {"autoscaling": {"max": 83, "due": 8_401}},
            "externalSecrets": {"refreshInterval": "85m"},
            "metrics": {
                "podMonitor": {"interval": "86s"},
                "prometheusRule": {"runbookBase": "https://runbooks.example/bridge"},
                "dashboard": {"labels": {"grafana_dashboard": "87"}},
            },
            "redis": {"urlSecret": {"key": "key-of-url"}},
            "secrets": {
                name: {"key": f"key-of-{name}"}
                for name in ("secretKeys", "bootstrapKey", "signingKeys", "operatorUrl", "operatorSecret")
            },
        },
    ),
    "url": (
        "sentinel",
        {
            "redis": {
                "url": "redis://redis.example:6391/9",
                "sentinel": {"nodes": []},
                "passwordSecret": {"name": ""},
            }
        },
    ),
}


def scalars(tree: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """The path and text of each value that is not empty."""
    if isinstance(tree, dict | list):
        for key, part in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from scalars(part, f"{path}.{key}".removeprefix("."))
    elif tree != "":
        yield path, str(tree)


def occurs(value: str, objects: Iterable[Object]) -> bool:
    """Whether the value occurs, alone or as a word in a text."""
    return bool(re.search(rf"(?<!\w){re.escape(value)}(?!\w)", json.dumps(list(objects))))


def distinctive_values(name: str) -> dict[str, str]:
    """Merged values that do not occur in what the base values render: finding one proves that it has arrived."""
    base, values = OTHER[name]
    before = render(values_of(base)).objects
    return {path: value for path, value in scalars(values) if not occurs(value, before)}


@pytest.mark.parametrize("name", OTHER)
def test_what_is_given_arrives(name: str) -> None:
    base, values = OTHER[name]
    before, after = render(values_of(base)), render(merged(values_of(base), values))
    check_fields(after, NEWEST, known=before.objects)
    assert {path: value for path, value in distinctive_values(name).items() if not occurs(value, after.objects)} == {}


def test_every_value_is_given_somewhere_and_every_flag() -> None:
    given = {path for name in OTHER for path in distinctive_values(name)} | {".".join(flag) for flag in FLAGS}
    given |= {path for name in CI_VALUES for path, _ in scalars(values_of(name))}
    offered = leaves(yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8")))
    missing = [leaf for leaf in offered if not any(path == leaf or path.startswith(f"{leaf}.") for path in given)]
    assert [leaf for leaf in missing if not leaf.startswith("settings.")] == []
