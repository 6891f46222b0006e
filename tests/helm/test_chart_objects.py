"""Kubernetes accepts what the chart renders, and the objects refer to one another correctly."""

import copy
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.api import server
from app.store.agenda import DELIVER, POLL
from tests.helm.generated import CHART
from tests.support import tools
from tests.support.rendered_chart import CI_VALUES, ROLES, Object, Rendered, merged, render, values_of

pytestmark = pytest.mark.slow  # skipped on laptops: Helm and the validators take a gigabyte

OLDEST, NEWEST = "1.27", "1.37"
CUSTOM_KINDS = {"ScaledObject", "PodMonitor", "PrometheusRule", "ExternalSecret", "HTTPRoute"}
LONGEST_RELEASE = "release-with-the-longest-name-that-helm-will-let-pass"


@pytest.fixture(params=CI_VALUES)
def rendered(request: pytest.FixtureRequest) -> Rendered:
    return render(values_of(request.param))


def check_fields(rendered: Rendered, version: str, known: tuple[Object, ...] = ()) -> None:
    """known: objects that have been validated already."""
    validator = tools.module("kubernetes_validate")
    for found in rendered.objects:
        if found["kind"] not in CUSTOM_KINDS and found not in known:
            validator.validate(found, version, strict=True)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_kubernetes_knows_every_field(rendered: Rendered, version: str) -> None:
    check_fields(rendered, version)


def test_the_oldest_version_is_the_one_that_the_chart_asks_for() -> None:
    assert yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))["kubeVersion"] == f">={OLDEST}.0-0"


@pytest.mark.slow
def test_the_operators_models_have_every_field_that_is_given() -> None:
    keda = tools.module("cloudcoil.models.keda.v1alpha1")
    monitoring = tools.module("cloudcoil.models.prometheus_operator.v1")
    models = {
        "ScaledObject": keda.ScaledObject,
        "PodMonitor": monitoring.PodMonitor,
        "PrometheusRule": monitoring.PrometheusRule,
    }
    found = render(values_of("production")).of(*models)
    assert {each["kind"] for each in found} == set(models)
    for each in found:
        read = models[each["kind"]].model_validate(each)
        dumped = read.model_dump(mode="json", by_alias=True, exclude_unset=True)
        assert dumped == each


@pytest.mark.parametrize("name", CI_VALUES)
def test_helm_finds_nothing_to_blame(name: str) -> None:
    report = tools.module("helm_python").lint(str(CHART), values_of(name), strict=True)
    assert report["errors"] == []
    assert [message["error"] for message in report["messages"]] == ["icon is recommended"]


def flags(schema: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [path] if schema.get("type") == "boolean" else []
    for name, part in schema.get("properties", {}).items():
        found += flags(part, (*path, name))
    return found


FLAGS = flags(yaml.safe_load((CHART / "values.schema.json").read_text(encoding="utf-8")))
# Values that must be changed together with a flag: when it is on, and (GOES_WITHOUT) when it is off.
GOES_WITH: dict[str, dict[str, Any]] = {
    "redis.bundled.enabled": {
        "redis": {
            **{"host": "", "passwordSecret": {"name": ""}, "username": ""},
            "tls": {"enabled": False, "caSecret": {"name": ""}},
        }
    },
    "settings.cloudevents_handshake": {"settings": {"cloudevents_origin": "bridge.example"}},
    "ingress.enabled": {"ingress": {"hosts": ["bridge.example"]}},
    "externalSecrets.enabled": {"externalSecrets": {"store": {"name": "vault"}, "secrets": {"a": {"b": {"key": "c"}}}}},
}
GOES_WITHOUT: dict[str, dict[str, Any]] = {
    "secrets.secretKeys.allowUnencrypted": {"secrets": {"secretKeys": {"name": "bridge"}}},
    "redis.tls.enabled": {"redis": {"tls": {"caSecret": {"name": ""}}}},
}


@pytest.mark.parametrize("on", [True, False], ids=["on", "off"])
@pytest.mark.parametrize("path", FLAGS, ids=".".join)
def test_every_flag_may_be_on_or_off(path: tuple[str, ...], on: bool) -> None:
    flag: Any = on
    for name in reversed(path):
        flag = {name: flag}
    values = merged(values_of("parts"), (GOES_WITH if on else GOES_WITHOUT).get(".".join(path), {}))
    check_fields(render(merged(values, flag)), NEWEST, known=render(values_of("parts")).objects)


def matches(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        labels.get(rule["key"]) in rule["values"] for rule in selector.get("matchExpressions", [])
    )


def selected_components(rendered: Rendered, selector: dict[str, Any]) -> set[str]:
    """Components of the pods that the selector matches."""
    labels = [pod["metadata"]["labels"] for pod in rendered.every_pod()]
    return {each["app.kubernetes.io/component"] for each in labels if matches(selector, each)}


def test_selectors_choose_their_own_pods_and_no_others(rendered: Rendered) -> None:
    for found in rendered.of("Deployment", "StatefulSet", "PodDisruptionBudget"):
        assert selected_components(rendered, found["spec"]["selector"]) == {
            found["metadata"]["labels"]["app.kubernetes.io/component"]
        }
    for found in rendered.of("Service"):
        component = found["metadata"]["labels"]["app.kubernetes.io/component"]
        assert selected_components(rendered, {"matchLabels": found["spec"]["selector"]}) == {component}
    for found in rendered.of("NetworkPolicy"):
        component = found["metadata"]["labels"]["app.kubernetes.io/component"]
        assert selected_components(rendered, found["spec"]["podSelector"]) == {component}
    for found in rendered.of("PodMonitor"):
        assert selected_components(rendered, found["spec"]["selector"]) == set(ROLES)


def test_what_is_referred_to_is_there(rendered: Rendered) -> None:
    names = {(found["kind"], found["metadata"]["name"]) for found in rendered.objects}
    for pod in rendered.pods().values():
        spec = pod["spec"]
        maps = [volume["configMap"]["name"] for volume in spec["volumes"] if "configMap" in volume]
        maps += [
            source["configMapRef"]["name"]
            for source in spec["containers"][0].get("envFrom", [])
            if "configMapRef" in source
        ]
        assert {("ConfigMap", name) for name in maps} <= names
        assert {mount["name"] for mount in spec["containers"][0]["volumeMounts"]} - {"data"} == {
            volume["name"] for volume in spec["volumes"]
        }
        if account := spec.get("serviceAccountName"):
            assert ("ServiceAccount", account) in names
    for found in rendered.of("HorizontalPodAutoscaler", "ScaledObject"):
        assert ("Deployment", found["spec"]["scaleTargetRef"]["name"]) in names


def test_named_ports_are_ports_of_the_pods(rendered: Rendered) -> None:
    ports = {
        pod["metadata"]["labels"]["app.kubernetes.io/component"]: {
            port["name"] for port in pod["spec"]["containers"][0].get("ports", [])
        }
        for pod in rendered.every_pod()
    }
    for found in rendered.of("Service"):
        (port,) = found["spec"]["ports"]
        assert port["targetPort"] in ports[found["metadata"]["labels"]["app.kubernetes.io/component"]]
    for found in rendered.of("NetworkPolicy"):
        named = {port["port"] for rule in found["spec"]["ingress"] for port in rule["ports"]}
        assert named == ports[found["metadata"]["labels"]["app.kubernetes.io/component"]]
    for found in rendered.of("PodMonitor"):
        assert all(found["spec"]["podMetricsEndpoints"][0]["port"] in ports[role] for role in ROLES)


@pytest.mark.parametrize("values", [{}, {"fullnameOverride": "a" * 80}, {"nameOverride": "b" * 80}], ids=str)
def test_names_and_labels_stay_within_63_characters(values: dict[str, Any]) -> None:
    rendered = render(merged(values_of("trial"), values), name=LONGEST_RELEASE, namespace="n" * 63)
    # A StatefulSet's pods have its name and ten more characters as a label.
    lengths = {
        found["metadata"]["name"]: len(found["metadata"]["name"]) + 11 * (found["kind"] == "StatefulSet")
        for found in rendered.objects
    }
    assert {name: length for name, length in lengths.items() if length > 63} == {}
    labels = [label for found in rendered.objects for label in found["metadata"]["labels"].values()]
    assert max(map(len, labels)) <= 63
    check_fields(rendered, NEWEST)


def test_long_names_that_begin_alike_stay_two() -> None:
    first, second = (render(values_of("trial"), name=LONGEST_RELEASE[:-1] + end) for end in "xy")
    assert {found["metadata"]["name"] for found in first.objects} & {
        found["metadata"]["name"] for found in second.objects
    } == set()


def test_two_releases_in_one_namespace_do_not_meet() -> None:
    first, second = (render(values_of("trial"), name=name) for name in ("blue", "green"))
    names = [{(found["kind"], found["metadata"]["name"]) for found in rendered.objects} for rendered in (first, second)]
    assert names[0] & names[1] == set()
    for found in first.of("Deployment", "StatefulSet", "PodDisruptionBudget"):
        assert selected_components(second, found["spec"]["selector"]) == set()
    for found in first.of("NetworkPolicy"):
        assert selected_components(second, found["spec"]["podSelector"]) == set()
    for found in first.of("Service"):
        assert selected_components(second, {"matchLabels": found["spec"]["selector"]}) == set()


def test_a_new_chart_of_the_same_bridge_restarts_nothing(tmp_path: Path) -> None:
    newer = shutil.copytree(CHART, tmp_path / "newer")
    text = (newer / "Chart.yaml").read_text(encoding="utf-8")
    (newer / "Chart.yaml").write_text(text.replace("\nversion: 0.1.0", "\nversion: 0.2.0"), encoding="utf-8")
    old, new = (render(values_of("production"), chart=chart) for chart in (CHART, newer))
    assert old.pods() == new.pods()
    assert old.objects != new.objects


def test_settings_that_are_read_at_the_start_restart_pods_and_projects_do_not() -> None:
    before = render(values_of("trial")).pods()
    settings = render(merged(values_of("trial"), {"settings": {"lease_s": 61}})).pods()
    assert all(settings[role]["metadata"] != before[role]["metadata"] for role in ROLES)
    projects = render(merged(values_of("trial"), {"projects": {"default": {"rate": 5}}})).pods()
    assert projects == before


def test_an_upgrade_takes_the_values_of_the_last_release() -> None:
    """0.1.0 is the first release. Later charts must accept the values in this file."""
    old_values = yaml.safe_load((Path(__file__).parent / "values-0.1.0.yaml").read_text(encoding="utf-8"))
    for name in CI_VALUES:
        assert render(merged(old_values, values_of(name))).of("Deployment")


def test_replicas_are_left_out_where_something_scales() -> None:
    assert all("replicas" not in found["spec"] for found in render(values_of("production")).of("Deployment"))
    assert [found["spec"]["replicas"] for found in render(values_of("trial")).of("Deployment")] == [2, 2, 2]


def test_a_digest_wins_over_the_tag() -> None:
    for values, image in (
        ({}, "registry.example/cph-webhook-bridge:0.1.0"),
        ({"tag": "dev"}, "registry.example/cph-webhook-bridge:dev"),
        ({"tag": "dev", "digest": "sha256:" + "0" * 64}, "registry.example/cph-webhook-bridge@sha256:" + "0" * 64),
    ):
        rendered = render(merged(values_of("trial"), {"image": values}))
        images = {rendered.pod(role)["spec"]["containers"][0]["image"] for role in ROLES}
        assert images == {image}


@pytest.mark.parametrize(("age", "alive"), [("30 seconds ago", True), ("3 minutes ago", False), (None, False)])
def test_a_workers_probe_tells_a_fresh_file_from_an_old_one(age: str | None, alive: bool, tmp_path: Path) -> None:
    file = tmp_path / "alive"
    if age:
        subprocess.run(["touch", "--date", age, file], check=True)
    probe = render(values_of("trial")).pod("sender")["spec"]["containers"][0]["livenessProbe"]["exec"]["command"]
    assert probe[1] == "/tmp/alive"
    result = subprocess.run([probe[0], file, *probe[2:]], check=False, capture_output=True, encoding="utf-8")
    assert (result.returncode == 0) is alive
    # Kubernetes' event "Liveness probe failed: …" quotes what the probe prints.
    reason = f"the worker has not touched {file} since " if age else "No such file"
    assert (reason in result.stdout + result.stderr) is not alive


def cpu(quantity: str) -> int:
    """In thousandths of a CPU."""
    return int(quantity[:-1]) if quantity.endswith("m") else 1_000 * int(quantity)


def test_the_trial_fits_on_a_node_of_two_cpus_even_in_a_rollout() -> None:
    trial = yaml.safe_load((CHART / "trial-values.yaml").read_text(encoding="utf-8"))
    rendered = render(merged(values_of("trial"), trial))
    requested = 0
    for found in rendered.of("Deployment", "StatefulSet"):
        spec = found["spec"]
        pods = spec["replicas"] + spec.get("strategy", {}).get("rollingUpdate", {}).get("maxSurge", 0)
        (container,) = spec["template"]["spec"]["containers"]
        requested += pods * cpu(container["resources"]["requests"]["cpu"])
    # The components of Kubernetes itself ask for up to 950m on a node that is all of its cluster.
    assert requested == 500


def test_new_workers_must_live_for_a_while_before_they_replace_others() -> None:
    """They have no readiness probe: without this, pods that soon die would count as available at once."""
    waits = {
        role: render(values_of("trial")).one("Deployment", f"-{role}")["spec"].get("minReadySeconds") for role in ROLES
    }
    assert waits == {"api": None, "poller": 15, "sender": 15}


def test_startup_probes_do_not_begin_before_a_process_can_be_up() -> None:
    """Each failed probe is a warning among the pod's events."""
    pods = render(values_of("trial")).pods()
    delays = {name: pod["spec"]["containers"][0]["startupProbe"]["initialDelaySeconds"] for name, pod in pods.items()}
    assert delays == {"api": 10, "poller": 15, "sender": 15, "redis": 2}


def test_the_bundled_redis_has_a_tag_that_does_not_move() -> None:
    (_, tag) = render(values_of("trial")).pod("redis")["spec"]["containers"][0]["image"].split(":")
    assert re.fullmatch(r"\d+\.\d+\.\d+", tag)


def test_notes_ask_for_all_replicas_where_sentinels_fail_over() -> None:
    advice = "set settings.wait_replicas to the number of all replicas"
    assert advice in render(values_of("sentinel")).notes
    assert advice not in render(merged(values_of("sentinel"), {"settings": {"wait_replicas": 2}})).notes
    assert advice not in render(values_of("trial")).notes


def test_a_misspelt_field_would_be_seen() -> None:
    validator = tools.module("kubernetes_validate")
    found = copy.deepcopy(render(values_of("trial")).one("Deployment", "-api"))
    found["spec"]["template"]["spec"]["terminationGracePeriod"] = 30
    with pytest.raises(validator.ValidationError, match="terminationGracePeriod"):
        validator.validate(found, NEWEST, strict=True)


@pytest.mark.parametrize("deadline_s", [0.5, 10, 25.5])
def test_the_grace_is_longer_than_what_may_be_in_hand(deadline_s: float) -> None:
    settings = {"attempt_deadline_s": deadline_s, "lease_s": deadline_s * 3 + 0.5}
    rendered = render(merged(values_of("trial"), {"settings": settings}))
    grace = {role: rendered.pod(role)["spec"]["terminationGracePeriodSeconds"] for role in ROLES}
    pre_stop = int(rendered.pod("api")["spec"]["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][-1])
    assert grace["api"] > pre_stop + deadline_s + server.GRACE.total_seconds()
    assert min(grace["poller"], grace["sender"]) > settings["lease_s"] + 10


def test_keda_goes_by_what_is_due_on_a_roles_own_agenda() -> None:
    rendered = render(values_of("production"))
    for role, agenda in (("poller", POLL), ("sender", DELIVER)):
        spec = rendered.one("ScaledObject", f"-{role}")["spec"]
        (trigger,) = spec["triggers"]
        pods = "bridge-cph-webhook-bridge-(api|poller|sender)-[a-z0-9]+(-[a-z0-9]+)?"
        assert (
            trigger["metadata"]["query"] == f'max(cph_bridge_due{{namespace="phones",pod=~"{pods}",agenda="{agenda}"}})'
        )
        assert trigger["metadata"]["threshold"] == "500"
        assert spec["minReplicaCount"] >= 1


def test_both_ways_in_lead_to_the_service() -> None:
    (rule,) = render(values_of("production")).one("Ingress")["spec"]["rules"]
    assert rule["http"]["paths"][0]["backend"]["service"]["name"] == "bridge-cph-webhook-bridge-api"
    route = render(values_of("parts")).one("HTTPRoute")["spec"]
    assert route["rules"][0]["backendRefs"] == [{"name": "bridge-cph-webhook-bridge-api", "port": 80}]
    assert route["parentRefs"] == [{"name": "public", "namespace": "gateways"}]


def test_external_secrets_make_the_secrets_that_are_named() -> None:
    spec = render(values_of("production")).one("ExternalSecret", "cph")["spec"]
    assert spec["secretStoreRef"] == {"name": "vault", "kind": "ClusterSecretStore"}
    assert spec["target"] == {"name": "cph"}
    assert spec["data"] == [
        {"secretKey": "password", "remoteRef": {"key": "kv/cph", "property": "password"}},
        {"secretKey": "sk", "remoteRef": {"key": "kv/cph-sk"}},
    ]
