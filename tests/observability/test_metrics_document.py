"""docs/metrics.md, the alerts, their runbook and the dashboard match the metrics in the code."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from app.observability.__main__ import document
from app.observability.metric_definitions import ALL, MetricDefinition, MetricKind
from tests.support import tools
from tests.support.paths import ROOT

ALERTS = ROOT / "helm" / "files" / "alerts.yaml"
RULES = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"][0]["rules"]
DASHBOARD = json.loads((ROOT / "helm" / "files" / "dashboard.json").read_text(encoding="utf-8"))
RUNBOOK = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
NAMES = {each.full_name for each in ALL}
SUFFIXES = r"_(bucket|sum|count)$"


def selectors(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Each metric in the expression, without the suffix of a histogram, and the labels that select it."""
    yield from _selectors_in(promql_parser.parse(expression.replace("$__rate_interval", "5m")))


def _selectors_in(node: Any) -> Iterator[tuple[str, set[str]]]:
    match node:
        case promql_parser.VectorSelector():
            name = node.name if node.name in NAMES else re.sub(SUFFIXES, "", node.name)
            yield name, {matcher.name for matcher in node.matchers.matchers}
        case promql_parser.MatrixSelector():
            yield from _selectors_in(node.vector_selector)
        case promql_parser.BinaryExpr():
            yield from (*_selectors_in(node.lhs), *_selectors_in(node.rhs))
        case promql_parser.Call():
            for argument in node.args:
                yield from _selectors_in(argument)
        case promql_parser.AggregateExpr() | promql_parser.ParenExpr() | promql_parser.UnaryExpr():
            yield from _selectors_in(node.expr)
        case promql_parser.NumberLiteral():
            pass
        case _:
            raise AssertionError(f"unhandled node: {type(node).__name__}")


PANELS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
EXPRESSIONS = [*PANELS, *(rule["expr"] for rule in RULES)]
TARGET_LABELS = {"namespace", "job"}  # added by Prometheus


def test_the_document_is_what_the_code_makes() -> None:
    assert (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8") == document(), (
        "python -m app.observability > docs/metrics.md"
    )


@pytest.mark.parametrize("each", ALL, ids=lambda each: each.name)
def test_names_are_as_prometheus_wants_them(each: MetricDefinition) -> None:
    assert re.fullmatch(r"cph_bridge_[a-z_]+", each.full_name)
    assert each.name.endswith("_total") is (each.kind is MetricKind.COUNTER)
    assert bool(each.buckets) is (each.kind is MetricKind.HISTOGRAM)
    assert not set(each.labels) & {"job", "instance", "namespace", "pod", "tenant", "le"}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_names_metrics_and_labels_that_there_are(expression: str) -> None:
    labels = {each.full_name: set(each.labels) for each in ALL}
    found = list(selectors(expression))
    assert found
    for name, chosen in found:
        assert chosen <= labels[name] | TARGET_LABELS


@pytest.mark.parametrize("panel", [panel for panel in DASHBOARD["panels"] if "targets" in panel], ids=str)
def test_legends_show_labels_that_the_expression_keeps(panel: dict[str, Any]) -> None:
    assert panel["datasource"]["uid"] == "${datasource}"
    for target in panel["targets"]:
        grouping = re.search(r"by \(([^)]*)\)", target["expr"])
        legend_labels = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        assert legend_labels == (set(grouping[1].split(", ")) - {"le"} if grouping else set())


def test_whatever_is_measured_is_on_the_dashboard() -> None:
    assert {name for expression in PANELS for name, _ in selectors(expression)} == NAMES


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_how_urgent_it_is_and_leads_to_its_part_of_the_runbook(rule: dict[str, Any]) -> None:
    name = rule["alert"]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/operations.md#{name.lower()}"
    section = RUNBOOK.split("\n## Alerts\n")[1].split(f"\n### {name}\n")[1].split("\n#")[0]
    assert "**Look**" in section
    assert "**Do**" in section


def test_the_runbook_knows_no_alert_that_is_not() -> None:
    alerts = RUNBOOK.split("\n## Alerts\n")[1].split("\n## ")[0]
    assert re.findall(r"^### (\w+)$", alerts, re.MULTILINE) == [rule["alert"] for rule in RULES]


def test_alerts_fire_when_they_should_and_only_then() -> None:
    promtool = tools.program("promtool", "Debian: apt install prometheus")
    cases = Path(__file__).with_name("alerts.test.yaml")
    result = subprocess.run(
        [promtool, "test", "rules", cases], capture_output=True, encoding="utf-8", timeout=60, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    untested = [
        rule["alert"]
        for rule in RULES
        if rule["alert"] not in cases.read_text(encoding="utf-8").split("each that fires")[1]
    ]
    assert untested == []
