"""Trivy's opinion of what is rendered. (checkov 3.3 says nothing beside it but what is meant, or the operator's to say:
readiness of workers, digests, pull policy; it cannot be installed here, for it wants a `packaging` of long ago.)"""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from tests import tools
from tests.helm.rendered import CI_VALUES, render, values_of

JUSTIFIED = {
    "KSV-0011": "a limit of CPU only makes a pod slow when its node has time to spare",
    "KSV-0125": "which registries are trusted is the operator's to say",
    "KSV-01010": "it takes the words password_file and secret_key_file for secrets: they name mounted files",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CI_VALUES)
def test_trivy_finds_nothing_that_is_not_meant(name: str, tmp_path: Path) -> None:
    trivy = tools.program("trivy")
    objects = render(values_of(name)).objects
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(objects))
    options = ["--skip-check-update", "--skip-version-check", "--quiet", "--format", "json"]
    judged = subprocess.run([trivy, "config", *options, tmp_path], capture_output=True, text=True, check=True)
    results = json.loads(judged.stdout)["Results"]
    assert sum(result["MisconfSummary"]["Successes"] for result in results) > 50
    found = {problem["ID"]: problem["Message"] for result in results for problem in result.get("Misconfigurations", [])}
    assert {id: message for id, message in found.items() if id not in JUSTIFIED} == {}
