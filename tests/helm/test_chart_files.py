"""The chart's files agree with one another and with the code. Nothing is rendered here."""

import json
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from app.config.settings import Settings
from tests.helm.generated import CHART, FROM_VALUES, LEFT_OUT, OFFERED, default, documented, generated_files

ROOT = CHART.parent
VALUES = (CHART / "values.yaml").read_text(encoding="utf-8")

# Settings that the chart may have before the code has them.
EXPECTED = {"metrics_bind", "templates_dir"}


@pytest.mark.parametrize("path", generated_files(), ids=lambda path: path.name)
def test_what_is_generated_is_up_to_date(path: Any) -> None:
    assert path.read_text(encoding="utf-8") == generated_files()[path], "run ./dev chart"


def test_every_setting_is_offered_or_follows_from_a_value_or_is_left_out_on_purpose() -> None:
    assert set(Settings.model_fields) <= {*OFFERED, *FROM_VALUES, *LEFT_OUT}
    assert {*Settings.model_fields, *EXPECTED} >= FROM_VALUES | LEFT_OUT


def test_settings_have_the_defaults_of_the_code() -> None:
    assert yaml.safe_load(VALUES)["settings"] == {name: default(name) for name in OFFERED}


def leaves(values: Any, path: str = "") -> Iterator[str]:
    if isinstance(values, dict) and values:
        for key, value in values.items():
            yield from leaves(value, f"{path}.{key}".removeprefix("."))
    else:
        yield path


def test_every_value_has_a_comment() -> None:
    commented = {path for path, _, _ in documented(VALUES)}
    uncommented = [
        leaf
        for leaf in leaves(yaml.safe_load(VALUES))
        if not any(leaf == path or leaf.startswith(f"{path}.") for path in commented)
    ]
    assert uncommented == []


def test_the_schema_knows_each_value_and_no_other() -> None:
    def agree(schema: dict[str, Any], values: Any, path: str) -> None:
        if "properties" in schema and isinstance(values, dict):
            assert schema["additionalProperties"] is False, path
            assert set(schema["properties"]) - {"global"} == set(values), path
            for key, value in values.items():
                agree(schema["properties"][key], value, f"{path}.{key}")

    agree(json.loads((CHART / "values.schema.json").read_text(encoding="utf-8")), yaml.safe_load(VALUES), "")


def test_chart_image_and_project_have_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))["appVersion"] == project
    assert f"ARG VERSION={project}\n" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
