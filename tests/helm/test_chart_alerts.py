"""The chart's alerts are about its own release, and link to a runbook that can be read."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helm.generated import CHART
from tests.support import tools
from tests.support.rendered_chart import ROLES, Rendered, merged, render, values_of

pytestmark = pytest.mark.slow  # skipped on laptops: Helm and the validators take a gigabyte

NAMES = [
    rule["alert"]
    for rule in yaml.safe_load((CHART / "files" / "alerts.yaml").read_text(encoding="utf-8"))["groups"][0]["rules"]
]
ON = {"metrics": {"prometheusRule": {"enabled": True}}}


def rules(**values: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = rendered(**values).one("PrometheusRule")["spec"]["groups"][0]["rules"]
    return found


def rendered(**values: Any) -> Rendered:
    return render(merged(merged(values_of("trial"), ON), values))


def test_without_metrics_there_is_no_alert_that_they_are_missing() -> None:
    assert rendered(metrics={"enabled": False}).of("PrometheusRule") == []


def test_alerts_lead_to_the_runbook_where_it_is_read() -> None:
    read_at = {"prometheusRule": {"runbookBase": "https://git.example/bridge/docs/operations.md"}}
    urls = [rule["annotations"]["runbook_url"] for rule in rules(metrics=read_at)]
    assert urls == [f"https://git.example/bridge/docs/operations.md#{name.lower()}" for name in NAMES]
    for rule in rules():
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"
        assert "runbook_url" not in rule["annotations"]  # it would be no URL


# Which pod has metrics in Prometheus, and whether it is this release's API.
SCRAPED = {
    "the API": ({"pod": "bridge-cph-webhook-bridge-api-5d4f8c7b9c-x2x7k"}, True),
    "nobody": (None, False),
    "workers alone": ({"pod": "bridge-cph-webhook-bridge-poller-5d4f8c7b9c-x2x7k"}, False),
    "another namespace": ({"pod": "bridge-cph-webhook-bridge-api-5d4f8c7b9c-x2x7k", "namespace": "other"}, False),
    "another release": ({"pod": "green-cph-webhook-bridge-api-5d4f8c7b9c-x2x7k"}, False),
}


@pytest.mark.parametrize("scraped", SCRAPED)
def test_a_bridge_is_gone_when_its_own_api_has_no_metrics(scraped: str, tmp_path: Path) -> None:
    labels, is_there = SCRAPED[scraped]
    series = [{"series": f"cph_bridge_redis_up{_as_labels(labels)}", "values": "1x40"}] if labels else []
    firing = {"labels": f"ALERTS{_as_labels({'alertname': 'BridgeGone', 'alertstate': 'firing', 'severity': 'page'})}"}
    expectation = {
        "expr": 'ALERTS{alertname="BridgeGone",alertstate="firing"}',
        "eval_time": "15m",
        "exp_samples": [] if is_there else [firing | {"value": 1}],
    }
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rendered().one("PrometheusRule")["spec"]), encoding="utf-8")
    cases = {
        "rule_files": ["rules.yaml"],
        "tests": [{"interval": "30s", "input_series": series, "promql_expr_test": [expectation]}],
    }
    (tmp_path / "cases.yaml").write_text(yaml.safe_dump(cases), encoding="utf-8")
    promtool = tools.program("promtool", "Debian: apt install prometheus")
    command = [promtool, "test", "rules", tmp_path / "cases.yaml"]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def _as_labels(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in ({"namespace": "phones"} | labels).items()) + "}"


def pod_name(role: str, full: str) -> str:
    """The name that Kubernetes gives it: cut at 58 characters, then five more that are random."""
    deployment = render(merged(values_of("trial"), {"fullnameOverride": full})).one("Deployment", f"-{role}")
    return f"{deployment['metadata']['name']}-5d4f8c7b9c-"[:58] + "x2x7k"


@pytest.mark.parametrize("full", ["bridge", "a" * 43, "a" * 53])
def test_keda_counts_the_pods_of_its_own_release(full: str) -> None:
    scaled = render(merged(values_of("production"), {"fullnameOverride": full})).one("ScaledObject", "-poller")
    pattern = re.search(r'pod=~"([^"]*)"', scaled["spec"]["triggers"][0]["metadata"]["query"])
    assert pattern
    assert all(re.fullmatch(pattern[1], pod_name(role, full)) for role in ROLES)
    for other in (f"{full}-api", f"{full}2", "green"):
        assert not any(re.fullmatch(pattern[1], pod_name(role, other)) for role in ROLES)
