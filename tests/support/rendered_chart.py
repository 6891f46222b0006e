"""The chart as Helm renders it, and queries on the result."""

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.helm.generated import CHART
from tests.support import tools

Object = dict[str, Any]

ROLES = ("api", "poller", "sender")
CI_VALUES = {path.name.removesuffix("-values.yaml"): path for path in sorted((CHART / "ci").glob("*-values.yaml"))}


def values_of(name: str) -> dict[str, Any]:
    """The values of one of the chart's `ci/*-values.yaml`."""
    values: dict[str, Any] = yaml.safe_load(CI_VALUES[name].read_text(encoding="utf-8"))
    return values


def merged(values: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Merges two files of values as Helm does: null removes a value."""
    result = copy.deepcopy(dict(values))
    for key, value in more.items():
        if value is None:
            result.pop(key, None)
            continue
        both_are_dicts = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both_are_dicts else value
    return result


@dataclass(frozen=True, slots=True)
class Rendered:
    objects: tuple[Object, ...]
    notes: str

    def of(self, *kinds: str) -> list[Object]:
        return [found for found in self.objects if found["kind"] in kinds]

    def one(self, kind: str, suffix: str = "") -> Object:
        (found,) = (found for found in self.of(kind) if found["metadata"]["name"].endswith(suffix))
        return found

    def pod(self, role: str) -> Object:
        """The pod template of a role, or of Redis."""
        template: Object = self.one("StatefulSet" if role == "redis" else "Deployment", f"-{role}")["spec"]["template"]
        return template

    def pods(self) -> dict[str, Object]:
        """The pod templates, by component."""
        return {
            found["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"]: found["spec"]["template"]
            for found in self.of("Deployment", "StatefulSet")
        }

    def every_pod(self) -> list[Object]:
        """All pods, including that of `helm test`."""
        return [*self.pods().values(), *self.of("Pod")]

    def environment(self, role: str) -> dict[str, str]:
        """The environment of a role's container, without values from Secrets."""
        (container,) = self.pod(role)["spec"]["containers"]
        env: dict[str, str] = {}
        for source in container.get("envFrom", []):
            if name := source.get("configMapRef", {}).get("name"):
                env |= self.one("ConfigMap", name)["data"]
        return env | {entry["name"]: entry["value"] for entry in container.get("env", []) if "value" in entry}

    def secrets_of(self, role: str) -> set[tuple[str, str]]:
        """Name and key of each Secret value that the role's pods get."""
        spec = self.pod(role)["spec"]
        return set(_secrets(spec["volumes"])) | set(_secrets(spec["containers"]))


def _secrets(tree: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(tree, list):
        for part in tree:
            yield from _secrets(part)
    elif isinstance(tree, dict):
        if reference := tree.get("secretKeyRef"):
            yield reference["name"], reference["key"]
        for secret in (tree.get("secret"), tree.get("secretRef")):
            if secret:
                name = secret.get("secretName") or secret["name"]
                yield from ((name, item["key"]) for item in secret.get("items", [{"key": "*"}]))
        for key, part in tree.items():
            if key not in ("secret", "secretRef"):
                yield from _secrets(part)


def render(
    values: Mapping[str, Any], *, name: str = "bridge", namespace: str = "phones", chart: Path = CHART
) -> Rendered:
    """Renders the chart. Results are cached: do not change them.

    ChartRefused if the chart or its schema rejects the values.
    """
    return _render(json.dumps(values, sort_keys=True), name, namespace, chart)


@cache
def _render(values: str, name: str, namespace: str, chart: Path) -> Rendered:
    helm = tools.module("helm_python")
    try:
        with helm.Chart.load(str(chart)) as loaded:
            files = loaded.render(json.loads(values), name=name, namespace=namespace)
    except helm.HelmError as error:
        raise ChartRefused(str(error)) from None
    documents = [
        document
        for path, text in files.items()
        if path.endswith(".yaml")
        for document in yaml.safe_load_all(text)
        if document
    ]
    (notes,) = (text for path, text in files.items() if path.endswith("NOTES.txt"))
    return Rendered(tuple(documents), notes)


class ChartRefused(Exception):
    pass
