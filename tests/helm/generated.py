"""Generates what in the chart follows from the code and the values. `./dev chart` writes it, a test checks it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from app.config.settings import Settings
from tests.support.paths import ROOT

CHART = ROOT / "helm"

# Settings that follow from other values of the chart.
FROM_VALUES = frozenset(
    {
        *(
            "redis_url",
            "redis_sentinels",
            "redis_sentinel_service",
            "redis_sentinel_user",
            "redis_sentinel_password",
            "api_bind",
            "probe_bind",
            "metrics_bind",
        ),
        *("bootstrap_key", "secret_keys", "signing_keys", "operator_url", "operator_secret"),
        *("projects_file", "grants_file", "tenants_file", "templates_dir", "alive_file"),
    }
)
# Settings that a chart with a projects file does not need, and one that is for tests only.
LEFT_OUT = frozenset(
    {
        *("cph_project_id", "cph_region", "cph_endpoint", "cph_token"),
        *("cph_access_key", "cph_secret_key", "cph_security_token"),
        *("iam_endpoint", "iam_user", "iam_password", "iam_domain", "test_crash_at"),
        *("cph_ca_file", "cph_proxy"),
    }
)
OMITTED_KEYWORDS = ("title", "default", "description", "format")
# Formats for which the chart's schema has its own pattern, as network policies must accept them too.
NETWORKS = ("ipv4network", "ipv6network")
OFFERED = [name for name in Settings.model_fields if name not in FROM_VALUES | LEFT_OUT]


def default(name: str) -> Any:
    """The default as YAML has it: 5, not 5.0; sets are sorted."""
    value = Settings().model_dump(mode="json")[name]
    field = Settings.model_fields[name].default
    return _plain(sorted(value) if isinstance(field, frozenset) else value)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def values_of_settings() -> str:
    lines = ["settings:"]
    for name in OFFERED:
        lines += [f"  # -- {Settings.model_fields[name].description}", f"  {name}: {json.dumps(default(name))}"]
    return "\n".join(lines)


def schema_of_settings() -> dict[str, Any]:
    document = Settings.model_json_schema()
    named = {f"#/$defs/{name}": found for name, found in document.get("$defs", {}).items()}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: _schema(document["properties"][name], named) for name in OFFERED},
    }


def _schema(found: dict[str, Any], named: dict[str, Any]) -> dict[str, Any]:
    """Omits keywords for people, and formats, which some validators do not know. named: schemas by `$ref`."""
    if "$ref" in found:
        return _schema(named[found["$ref"]], named)
    if found.get("format") in NETWORKS:
        return {"$ref": "#/definitions/network"}
    parts: dict[str, Any] = {key: value for key, value in found.items() if key not in OMITTED_KEYWORDS}
    if "anyOf" in parts:
        first, *others = [_schema(part, named) for part in parts["anyOf"]]
        if all(other == first for other in others):
            return first
        parts["anyOf"] = [first, *others]
    if "items" in parts:
        parts["items"] = _schema(parts["items"], named)
    return parts


def table_of_values(text: str) -> str:
    """A Markdown table of commented YAML: one row for each value with a `# --` comment."""
    rows = [f"| `{path}` | {value} | {about} |" for path, value, about in documented(text)]
    return "\n".join(["| value | default | what |", "|---|---|---|", *rows])


def documented(text: str) -> Iterator[tuple[str, str, str]]:
    """Path, default as Markdown and comment of each value that has a comment."""
    values = yaml.safe_load(text)
    path: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in text.splitlines():
        if found := re.match(r" *# (?:-- )?(.*)", line):
            comment = [found[1]] if "# -- " in line else comment and [*comment, found[1]]
        elif found := re.match(r"( *)([\w.-]+):", line):
            path = [*((indent, key) for indent, key in path if indent < len(found[1])), (len(found[1]), found[2])]
            if comment:
                keys = [key for _, key in path]
                yield _row(keys, _at(values, keys), comment)
            comment = []
        else:
            comment = []


def _row(keys: list[str], value: Any, comment: list[str]) -> tuple[str, str, str]:
    documented_default = next(
        (line.removeprefix("@default -- ") for line in comment if line.startswith("@default")), ""
    )
    about = " ".join(line for line in comment if not line.startswith("@default"))
    return ".".join(keys), documented_default or f"`{json.dumps(value)}`", about


def _at(values: Any, keys: list[str]) -> Any:
    for key in keys:
        values = values[key]
    return values


def replace_between(text: str, begin: str, end: str, new: str) -> str:
    """Replaces the text between the lines `begin` and `end` by `new`."""
    head, rest = text.split(f"{begin}\n", 1)
    return f"{head}{begin}\n{new}\n{end}{rest.split(end, 1)[1]}"


def generated_files() -> dict[Path, str]:
    """The content that the generated files of the chart should have."""
    values = replace_between(
        (CHART / "values.yaml").read_text(encoding="utf-8"), "# <settings>", "# </settings>", values_of_settings()
    )
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    schema["properties"]["settings"] = schema_of_settings()
    readme = (CHART / "README.md").read_text(encoding="utf-8")
    return {
        CHART / "values.yaml": values,
        CHART / "values.schema.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n",
        CHART / "README.md": replace_between(readme, "<!-- values -->", "<!-- /values -->", table_of_values(values)),
    }


if __name__ == "__main__":
    for path, text in generated_files().items():
        if path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"updated {path}")
