"""Values that cannot work are refused before anything is installed, with a message that says what to do."""

from typing import Any

import pytest

from tests.support.rendered_chart import ChartRefused, merged, render, values_of

pytestmark = pytest.mark.slow  # skipped on laptops: Helm and the validators take a gigabyte

CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "no image": ({"image": {"repository": ""}}, "set the repository that you pushed the image to"),
    "no redis": ({"redis": {"bundled": {"enabled": False}}}, "no Redis: set redis.urlSecret.name"),
    "two redis": ({"redis": {"host": "r"}}, "more than one Redis is set: redis.bundled.enabled, redis.host"),
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
    "a user of Sentinels without a password": (
        {"redis": {"sentinel": {"username": "u"}}},
        "redis.sentinel.username needs redis.sentinel.passwordSecret.name",
    ),
    "a login that nobody uses": ({"redis": {"username": "u"}}, "need redis.host or redis.sentinel.nodes"),
    "tls beside a url": (
        {"redis": {"urlSecret": {"name": "s"}, "tls": {"enabled": True}, "bundled": {"enabled": False}}},
        "redis.tls.enabled needs redis.host or redis.sentinel.nodes: a URL enables TLS by rediss://",
    ),
    "tls of a bundled redis": ({"redis": {"tls": {"enabled": True}}}, "the bundled Redis has no TLS"),
    "an authority of a bundled redis": ({"redis": {"tls": {"caSecret": {"name": "ca"}}}}, "has no TLS; leave it out"),
    "an authority and no tls": (
        {"redis": {"host": "r", "tls": {"caSecret": {"name": "ca"}}, "bundled": {"enabled": False}}},
        "redis.tls.caSecret needs redis.tls.enabled=true",
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
        "redis.url must use TLS",
    ),
    "no keys at rest": (
        {"redis": {"host": "r", "bundled": {"enabled": False}}},
        "kubectl create secret generic cph-bridge --from-literal=secret-keys=",
    ),
    "keys and none": ({"secrets": {"secretKeys": {"name": "s", "allowUnencrypted": True}}}, "contradict each other"),
    "half an operator": ({"secrets": {"operatorUrl": {"name": "s"}}}, "must be set together"),
    "no projects": ({"projects": {"default": None}}, "add at least one CPH project"),
    "no endpoint": ({"projects": {"default": {"region": None}}}, "projects.default: set either region or endpoint"),
    "two endpoints": ({"projects": {"default": {"endpoint": "https://cph"}}}, "set either region or endpoint"),
    "no credentials": (
        {"projects": {"default": {"credentials": {"tokenSecret": None}}}},
        "projects.default.credentials: set exactly one of",
    ),
    "two kinds": ({"projects": {"default": {"credentials": {"agency": True}}}}, "(set: tokenSecret, agency)"),
    "half a user": (
        {"projects": {"default": {"credentials": {"tokenSecret": None, "user": "u"}}}},
        "user, domain and passwordSecret must be set together",
    ),
    "half a key": (
        {"projects": {"default": {"credentials": {"tokenSecret": None, "accessKey": "a"}}}},
        "set secretKeySecret, and either accessKey or accessKeySecret",
    ),
    "a grant of nothing": (
        {
            "grants": {
                "g": {"tenants": ["t"], "hosts": ["h.example"], "networks": [], "ports": [1], "schemes": ["http"]}
            }
        },
        "grants.g grants nothing",
    ),
    "keda without prometheus": ({"sender": {"autoscaling": {"kind": "keda"}}}, "set keda.prometheus"),
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
    "an issuer and no audience": ({"settings": {"oidc_issuer": "https://i.example"}}, "must be set together"),
    "an audience and no issuer": ({"settings": {"oidc_audience": "bridge"}}, "must be set together"),
    "a handshake of nobody": ({"settings": {"cloudevents_handshake": True}}, "needs settings.cloudevents_origin"),
    "probes on the api's port": ({"api": {"probePort": 8080}}, "api.port, api.probePort and metrics.port must differ"),
    "metrics on the api's port": ({"metrics": {"port": 8080}}, "api.port, api.probePort and metrics.port must differ"),
    "metrics on the probes' port": (
        {"metrics": {"port": 8081}},
        "api.port, api.probePort and metrics.port must differ",
    ),
    "a route to nowhere": ({"httpRoute": {"enabled": True}}, "set httpRoute.parentRefs"),
    "an ingress for nobody": ({"ingress": {"enabled": True}}, "set ingress.hosts"),
    "secrets from nowhere": ({"externalSecrets": {"enabled": True}}, "set externalSecrets.store.name"),
    # Refused by the schema.
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
def test_what_cannot_work_is_refused_with_a_message_that_helps(change: str) -> None:
    values, message = CHANGES[change]
    with pytest.raises(ChartRefused) as refused:
        render(merged(values_of("trial"), values))
    assert message in str(refused.value)
