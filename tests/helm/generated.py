"""What of the chart follows from the code and from its values: `./dev chart` renews it, a test holds it true."""

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
            "redis_sentinel_password",
            "api_bind",
            "probe_bind",
            "metrics_bind",
        ),
        *("bootstrap_key", "secret_keys", "signing_keys", "operator_url", "operator_secret"),
        *("projects_file", "grants_file", "tenants_file", "templates_dir", "alive_file"),
    }
)
# Those that a chart with a file of projects has no use for, and one that only tests have.
LEFT_OUT = frozenset(
    {
        *("cph_project_id", "cph_region", "cph_endpoint", "cph_token"),
        *("cph_access_key", "cph_secret_key", "cph_security_token"),
        *("iam_endpoint", "iam_user", "iam_password", "iam_domain", "crash_at"),
    }
)
UNSAID = ("title", "default", "description", "format")
# Formats that the chart's own schema has a pattern for, as a network policy must take them too.
NETWORKS = ("ipv4network", "ipv6network")
OFFERED = [name for name in Settings.model_fields if name not in FROM_VALUES | LEFT_OUT]


def default(name: str) -> Any:
    """As YAML has it: 5, not 5.0; sets in order."""
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
    """Without what only speaks to people, and without formats, which validators know or do not. named: `$ref`s."""
    if "$ref" in found:
        return _schema(named[found["$ref"]], named)
    if found.get("format") in NETWORKS:
        return {"$ref": "#/definitions/network"}
    parts: dict[str, Any] = {key: value for key, value in found.items() if key not in UNSAID}
    if "anyOf" in parts:
        first, *others = [_schema(part, named) for part in parts["anyOf"]]
        if all(other == first for other in others):
            return first
        parts["anyOf"] = [first, *others]
    if "items" in parts:
        parts["items"] = _schema(parts["items"], named)
    return parts


def table_of_values(text: str) -> str:
    """Of the commented YAML: one row for each value with a `# --` comment."""
    rows = [f"| `{path}` | {value} | {about} |" for path, value, about in documented(text)]
    return "\n".join(["| value | default | what |", "|---|---|---|", *rows])


def documented(text: str) -> Iterator[tuple[str, str, str]]:
    """Path, default as Markdown, comment."""
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
    said = next((line.removeprefix("@default -- ") for line in comment if line.startswith("@default")), "")
    about = " ".join(line for line in comment if not line.startswith("@default"))
    return ".".join(keys), said or f"`{json.dumps(value)}`", about


def _at(values: Any, keys: list[str]) -> Any:
    for key in keys:
        values = values[key]
    return values


def between(text: str, begin: str, end: str, new: str) -> str:
    """The text with `new` in place of what stands between the lines `begin` and `end`."""
    head, rest = text.split(f"{begin}\n", 1)
    return f"{head}{begin}\n{new}\n{end}{rest.split(end, 1)[1]}"


def renewed() -> dict[Path, str]:
    """Files of the chart as they should be."""
    values = between(
        (CHART / "values.yaml").read_text(encoding="utf-8"), "# <settings>", "# </settings>", values_of_settings()
    )
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    schema["properties"]["settings"] = schema_of_settings()
    readme = (CHART / "README.md").read_text(encoding="utf-8")
    return {
        CHART / "values.yaml": values,
        CHART / "values.schema.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n",
        CHART / "README.md": between(readme, "<!-- values -->", "<!-- /values -->", table_of_values(values)),
    }


if __name__ == "__main__":
    for path, text in renewed().items():
        if path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"renewed {path}")
