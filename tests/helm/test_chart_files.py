"""The chart's files agree with one another and with the code; nothing of it is rendered here."""

import json
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from app.config.settings import Settings
from tests.helm.generated import CHART, FROM_VALUES, LEFT_OUT, OFFERED, default, documented, renewed

ROOT = CHART.parent
VALUES = (CHART / "values.yaml").read_text(encoding="utf-8")

# Settings that the chart knows of before the code has them.
EXPECTED = {"metrics_bind", "templates_dir"}


@pytest.mark.parametrize("path", renewed(), ids=lambda path: path.name)
def test_what_is_generated_is_up_to_date(path: Any) -> None:
    assert path.read_text(encoding="utf-8") == renewed()[path], "run ./dev chart"


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
    told = {path for path, _, _ in documented(VALUES)}
    untold = [
        leaf
        for leaf in leaves(yaml.safe_load(VALUES))
        if not any(leaf == path or leaf.startswith(f"{path}.") for path in told)
    ]
    assert untold == []


def test_the_schema_knows_each_value_and_no_other() -> None:
    def agree(schema: dict[str, Any], values: Any, path: str) -> None:
        if "properties" in schema and isinstance(values, dict):
            assert schema["additionalProperties"] is False, path
            assert set(schema["properties"]) - {"global"} == set(values), path
            for key, value in values.items():
                agree(schema["properties"][key], value, f"{path}.{key}")

    agree(json.loads((CHART / "values.schema.json").read_text(encoding="utf-8")), yaml.safe_load(VALUES), "")


def test_chart_image_and_project_tell_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))["appVersion"] == project
    assert f"ARG VERSION={project}\n" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
