"""Values that cannot work are refused before anything is installed, with words that help."""

from typing import Any

import pytest

from tests.support.rendered_chart import ChartRefused, merged, render, values_of

pytestmark = pytest.mark.slow  # on a laptop they are skipped: Helm and its judges are a gigabyte

CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "no image": ({"image": {"repository": ""}}, "say where you pushed the image"),
    "no redis": ({"redis": {"bundled": {"enabled": False}}}, "no Redis: give redis.urlSecret.name"),
    "two redis": ({"redis": {"host": "r"}}, "which Redis? These are all given: redis.bundled.enabled, redis.host"),
    "three redis": (
        {"redis": {"url": "redis://r", "urlSecret": {"name": "s"}}},
        "redis.bundled.enabled, redis.url, redis.urlSecret.name",
    ),
    "a password for all to read": (
        {
            "redis": {"url": "redis://u:p@r:6379", "bundled": {"enabled": False}},
            "secrets": {"secretKeys": {"name": "s"}},
        },
        "put the URL into a Secret",
    ),
    "a login that nobody uses": ({"redis": {"username": "u"}}, "go with redis.host or redis.sentinel.nodes"),
    "tls beside a url": (
        {"redis": {"urlSecret": {"name": "s"}, "tls": {"enabled": True}, "bundled": {"enabled": False}}},
        "redis.tls.enabled goes with redis.host or redis.sentinel.nodes: a URL says it itself, rediss://",
    ),
    "tls of a bundled redis": ({"redis": {"tls": {"enabled": True}}}, "the bundled Redis has no TLS"),
    "an authority of a bundled redis": ({"redis": {"tls": {"caSecret": {"name": "ca"}}}}, "has no TLS; leave it out"),
    "an authority and no tls": (
        {"redis": {"host": "r", "tls": {"caSecret": {"name": "ca"}}, "bundled": {"enabled": False}}},
        "redis.tls.caSecret is of use with redis.tls.enabled=true alone",
    ),
    "an authority that the url does not name": (
        {"redis": {"url": "rediss://r", "tls": {"caSecret": {"name": "ca"}}, "bundled": {"enabled": False}}},
        "rediss://…?ssl_ca_certs=/run/bridge/redis-ca/ca.crt",
    ),
    "an authority of an open url": (
        {
            "redis": {
                "url": "redis://r?ssl_ca_certs=/run/bridge/redis-ca/ca.crt",
                "tls": {"caSecret": {"name": "ca"}},
                "bundled": {"enabled": False},
            }
        },
        "redis.url must ask for TLS",
    ),
    "no keys at rest": (
        {"redis": {"host": "r", "bundled": {"enabled": False}}},
        "kubectl create secret generic cph-bridge --from-literal=secret-keys=",
    ),
    "keys and none": ({"secrets": {"secretKeys": {"name": "s", "lieOpen": True}}}, "contradict each other"),
    "half an operator": ({"secrets": {"operatorUrl": {"name": "s"}}}, "need each other"),
    "no projects": ({"projects": {"default": None}}, "name at least one CPH project"),
    "no place": ({"projects": {"default": {"region": None}}}, "projects.default: give one of region and endpoint"),
    "two places": ({"projects": {"default": {"endpoint": "https://cph"}}}, "give one of region and endpoint"),
    "no credentials": (
        {"projects": {"default": {"credentials": {"tokenSecret": None}}}},
        "projects.default.credentials: give one of",
    ),
    "two kinds": ({"projects": {"default": {"credentials": {"agency": True}}}}, "(there are: tokenSecret, agency)"),
    "half a user": (
        {"projects": {"default": {"credentials": {"tokenSecret": None, "user": "u"}}}},
        "user, domain and passwordSecret go together",
    ),
    "half a key": (
        {"projects": {"default": {"credentials": {"tokenSecret": None, "accessKey": "a"}}}},
        "give secretKeySecret, and one of accessKey and accessKeySecret",
    ),
    "a grant of nothing": (
        {
            "grants": {
                "g": {"tenants": ["t"], "hosts": ["h.example"], "networks": [], "ports": [1], "schemes": ["http"]}
            }
        },
        "grants.g grants nothing",
    ),
    "keda without prometheus": ({"sender": {"autoscaling": {"kind": "keda"}}}, "give keda.prometheus"),
    "min above max": ({"api": {"autoscaling": {"kind": "hpa", "min": 9}}}, "api.autoscaling: min is above max"),
    "too short a grace": ({"sender": {"terminationGracePeriodSeconds": 30}}, "may take 75 s"),
    "a grace that a setting made too short": (
        {"api": {"terminationGracePeriodSeconds": 30}, "settings": {"attempt_deadline_s": 20}},
        "may take 35 s",
    ),
    "a lease that an attempt outlasts": (
        {"settings": {"lease_s": 10}},
        "settings.lease_s must exceed settings.attempt_deadline_s",
    ),
    "a longest wait below the shortest": (
        {"settings": {"poll_max_s": 0.5}},
        "settings.poll_max_s must not be below settings.poll_min_s",
    ),
    "an issuer and no audience": ({"settings": {"oidc_issuer": "https://i.example"}}, "need each other"),
    "an audience and no issuer": ({"settings": {"oidc_audience": "bridge"}}, "need each other"),
    "a handshake of nobody": ({"settings": {"cloudevents_handshake": True}}, "needs settings.cloudevents_origin"),
    "probes on the api's port": ({"api": {"probePort": 8080}}, "give each a port of its own"),
    "metrics on the api's port": ({"metrics": {"port": 8080}}, "give each a port of its own"),
    "metrics on the probes' port": ({"metrics": {"port": 8081}}, "give each a port of its own"),
    "a route to nowhere": ({"httpRoute": {"enabled": True}}, "give httpRoute.parentRefs"),
    "an ingress for nobody": ({"ingress": {"enabled": True}}, "give ingress.hosts"),
    "secrets from nowhere": ({"externalSecrets": {"enabled": True}}, "give externalSecrets.store.name"),
    # What the schema says.
    "a misspelt value": ({"api": {"replica": 3}}, "replica"),
    "a misspelt setting": ({"settings": {"lease": 3}}, "lease"),
    "a setting out of bounds": ({"settings": {"worker_threads": 0}}, "worker_threads"),
    "a network that is none": ({"settings": {"allow_networks": ["10.20.0.0/16", "inside"]}}, "allow_networks/1"),
    "a network without its length": ({"settings": {"allow_networks": ["10.20.0.1"]}}, "allow_networks/0"),
    "a network beyond the last": ({"settings": {"allow_networks": ["10.256.0.0/16"]}}, "allow_networks/0"),
    "a network that is too long": ({"settings": {"allow_networks": ["fd00::/129"]}}, "allow_networks/0"),
    "a secret in the open": ({"projects": {"default": {"credentials": {"token": "t"}}}}, "token"),
    "keda for the api": ({"api": {"autoscaling": {"kind": "keda"}}}, "kind"),
    "asleep with keda": ({"sender": {"autoscaling": {"min": 0}}}, "min"),
    "a runbook that is no url": ({"metrics": {"prometheusRule": {"runbookBase": "docs"}}}, "runbookBase"),
    "a digest that is none": ({"image": {"digest": "latest"}}, "digest"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_cannot_work_is_refused_with_words_that_help(change: str) -> None:
    values, words = CHANGES[change]
    with pytest.raises(ChartRefused) as refused:
        render(merged(values_of("trial"), values))
    assert words in str(refused.value)
