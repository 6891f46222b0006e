"""Values that cannot work are refused before anything is installed, with words that help."""

from typing import Any

import pytest

from tests.helm.rendered import Refused, merged, render, values_of

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
    "a route to nowhere": ({"httpRoute": {"enabled": True}}, "give httpRoute.parentRefs"),
    "an ingress for nobody": ({"ingress": {"enabled": True}}, "give ingress.hosts"),
    "secrets from nowhere": ({"externalSecrets": {"enabled": True}}, "give externalSecrets.store.name"),
    # What the schema says.
    "a misspelt value": ({"api": {"replica": 3}}, "replica"),
    "a misspelt setting": ({"settings": {"lease": 3}}, "lease"),
    "a setting out of bounds": ({"settings": {"worker_threads": 0}}, "worker_threads"),
    "a secret in the open": ({"projects": {"default": {"credentials": {"token": "t"}}}}, "token"),
    "keda for the api": ({"api": {"autoscaling": {"kind": "keda"}}}, "kind"),
    "asleep with keda": ({"sender": {"autoscaling": {"min": 0}}}, "min"),
    "a digest that is none": ({"image": {"digest": "latest"}}, "digest"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_cannot_work_is_refused_with_words_that_help(change: str) -> None:
    values, words = CHANGES[change]
    with pytest.raises(Refused) as refused:
        render(merged(values_of("trial"), values))
    assert words in str(refused.value)
