"""Trivy and checkov check the rendered chart: every finding is a known exception, and weakened pods are found."""

import copy
import json
import re
import subprocess
from collections.abc import Sequence
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import tools
from tests.support.rendered_chart import CI_VALUES, Object, render, values_of

pytestmark = pytest.mark.slow

NO_CPU_LIMIT = "a limit of CPU only makes a pod slow when its node has time to spare"
JUSTIFIED = {
    "KSV-0011": NO_CPU_LIMIT,
    "KSV-0125": "the operator decides which registries are trusted",
    "KSV-01010": "it mistakes password_file and secret_key_file for secrets: they name mounted files",
}
# Accepted findings of checkov: in which objects (`Kind.namespace.name`, the namespace named after the values), and why.
ACCEPTED = {
    "CKV_K8S_11": ("", NO_CPU_LIMIT),
    "CKV_K8S_15": (r"\.(parts|sentinel|trial)\.", "a release's tag stays what it is: it need not be pulled again"),
    "CKV_K8S_43": (
        r"\.(parts|sentinel|trial)\.",
        "the operator may set a digest; the production values have one",
    ),
    "CKV_K8S_8": (r"-test$", "the pod of `helm test` ends by itself"),
    "CKV_K8S_9": (r"-(poller|sender|test)$", "they get no requests"),
    "CKV_K8S_35": (
        r"\.(parts|sentinel|production)\.",
        "Kubernetes puts the password into Redis' URL (urlSecret is a file); extraEnvFrom is the operator's",
    ),
    "CKV2_K8S_6": (r"^Pod\.parts\.", "these values switch the policies off"),
}


@pytest.mark.parametrize("name", CI_VALUES)
def test_trivy_finds_nothing_that_is_not_meant(name: str, tmp_path: Path) -> None:
    trivy = tools.program("trivy")
    objects = render(values_of(name)).objects
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(objects), encoding="utf-8")
    options = ["--skip-check-update", "--skip-version-check", "--quiet", "--format", "json"]
    done = subprocess.run([trivy, "config", *options, tmp_path], capture_output=True, encoding="utf-8", check=True)
    results = json.loads(done.stdout)["Results"]
    assert sum(result["MisconfSummary"]["Successes"] for result in results) > 50
    found = {problem["ID"]: problem["Message"] for result in results for problem in result.get("Misconfigurations", [])}
    assert {id: message for id, message in found.items() if id not in JUSTIFIED} == {}


# A path in the API's pod, the fields to remove there, and what checkov must then find.
CONTAINER = ("containers", 0)
UNHARDENED: dict[str, tuple[tuple[str | int, ...], set[str], set[str]]] = {
    "root": (("securityContext",), {"runAsNonRoot", "runAsUser"}, {"CKV_K8S_23", "CKV_K8S_40"}),
    "seccomp": (("securityContext",), {"seccompProfile"}, {"CKV_K8S_31"}),
    "token": ((), {"automountServiceAccountToken"}, {"CKV_K8S_38"}),
    "escalation": ((*CONTAINER, "securityContext"), {"allowPrivilegeEscalation"}, {"CKV_K8S_20"}),
    "files": ((*CONTAINER, "securityContext"), {"readOnlyRootFilesystem"}, {"CKV_K8S_22"}),
    "capabilities": ((*CONTAINER, "securityContext"), {"capabilities"}, {"CKV_K8S_28", "CKV_K8S_37"}),
    "memory": ((*CONTAINER, "resources"), {"limits"}, {"CKV_K8S_13"}),
    "liveness": (CONTAINER, {"livenessProbe"}, {"CKV_K8S_8"}),
}


def unhardened(name: str) -> Object:
    path, fields, _ = UNHARDENED[name]
    deployment = copy.deepcopy(render(values_of("trial"), namespace=name).one("Deployment", "-api"))
    weakened: Any = reduce(getitem, path, deployment["spec"]["template"]["spec"])
    for field in fields:
        del weakened[field]
    return deployment


@pytest.fixture(scope="module")
def checkov(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[tuple[str, str]]]:
    """Its findings in each namespace, as (check, object). There is one run for all, as it takes seconds to start."""
    program = tools.python_packages(Path(__file__).with_name("checkov.lock"), "checkov").with_name("checkov")
    folder = tmp_path_factory.mktemp("checkov")
    # Each has its own name: checkov applies a network policy to matching pods in any namespace.
    objects_by_name: dict[str, Sequence[Object]] = {
        name: render(values_of(name), name=name, namespace=name).objects for name in CI_VALUES
    }
    objects_by_name |= {name: [unhardened(name)] for name in UNHARDENED}
    for name, objects in objects_by_name.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump_all(objects), encoding="utf-8")
    command = [program, "--directory", folder, "--framework", "kubernetes", "--skip-download"]
    command += ["--quiet", "--compact", "--output", "json"]
    # It gets no variables of ours: with one of them it would send its findings to a service.
    done = subprocess.run(command, env={"HOME": str(folder)}, capture_output=True, encoding="utf-8", check=False)
    report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > 1_000
    found: dict[str, set[tuple[str, str]]] = {name: set() for name in objects_by_name}
    for failed in report["results"]["failed_checks"]:
        found[failed["resource"].split(".")[1]].add((failed["check_id"], failed["resource"]))
    return found


def unaccepted(found: set[tuple[str, str]]) -> set[tuple[str, str]]:
    return {(check, name) for check, name in found if check not in ACCEPTED or not re.search(ACCEPTED[check][0], name)}


def test_checkov_finds_nothing_that_is_not_meant(checkov: dict[str, set[tuple[str, str]]]) -> None:
    assert set().union(*(unaccepted(checkov[name]) for name in CI_VALUES)) == set()
    used = {check for name in CI_VALUES for check, _ in checkov[name]}
    assert used == set(ACCEPTED), "an entry that is no longer needed would hide later findings"


def test_checkov_finds_what_is_not_hardened(checkov: dict[str, set[tuple[str, str]]]) -> None:
    of_the_trial_values = {"CKV_K8S_15", "CKV_K8S_43", "CKV2_K8S_6"}  # as in the trial values, without their policies
    found = {name: {check for check, _ in unaccepted(checkov[name])} - of_the_trial_values for name in UNHARDENED}
    assert found == {name: checks for name, (_, _, checks) in UNHARDENED.items()}
