"""Trivy's and checkov's opinions of what is rendered: all that they find is meant, and they do find what is not."""

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
    "KSV-0125": "which registries are trusted is the operator's to say",
    "KSV-01010": "it takes the words password_file and secret_key_file for secrets: they name mounted files",
}
# What checkov may find, in which objects (`Kind.namespace.name`, the namespace named after the values), and why.
MEANT = {
    "CKV_K8S_11": ("", NO_CPU_LIMIT),
    "CKV_K8S_15": (r"\.(parts|sentinel|trial)\.", "a release's tag stays what it is: it need not be pulled anew"),
    "CKV_K8S_43": (
        r"\.(parts|sentinel|trial)\.",
        "the digest is the operator's to give; the production values have one",
    ),
    "CKV_K8S_8": (r"-test$", "the pod of `helm test` ends by itself"),
    "CKV_K8S_9": (r"-(poller|sender|test)$", "nobody is led to them"),
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
    judged = subprocess.run([trivy, "config", *options, tmp_path], capture_output=True, encoding="utf-8", check=True)
    results = json.loads(judged.stdout)["Results"]
    assert sum(result["MisconfSummary"]["Successes"] for result in results) > 50
    found = {problem["ID"]: problem["Message"] for result in results for problem in result.get("Misconfigurations", [])}
    assert {id: message for id, message in found.items() if id not in JUSTIFIED} == {}


# Where in the API's pod which fields are taken away, and what checkov must then find.
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
    place, fields, _ = UNHARDENED[name]
    deployment = copy.deepcopy(render(values_of("trial"), namespace=name).one("Deployment", "-api"))
    weakened: Any = reduce(getitem, place, deployment["spec"]["template"]["spec"])
    for field in fields:
        del weakened[field]
    return deployment


@pytest.fixture(scope="module")
def checkov(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[tuple[str, str]]]:
    """What it finds in each namespace, as (check, object); one run for all of them, for it takes seconds to start."""
    program = tools.python_packages(Path(__file__).with_name("checkov.txt"), "checkov").with_name("checkov")
    folder = tmp_path_factory.mktemp("checkov")
    # With a name of its own each: a network policy counts for its pods in any namespace.
    judged: dict[str, Sequence[Object]] = {
        name: render(values_of(name), name=name, namespace=name).objects for name in CI_VALUES
    }
    judged |= {name: [unhardened(name)] for name in UNHARDENED}
    for name, objects in judged.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump_all(objects), encoding="utf-8")
    command = [program, "--directory", folder, "--framework", "kubernetes", "--skip-download"]
    command += ["--quiet", "--compact", "--output", "json"]
    # It sees nothing of our environment: one variable, and it would send what it finds to a service.
    done = subprocess.run(command, env={"HOME": str(folder)}, capture_output=True, encoding="utf-8", check=False)
    report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > 1_000
    found: dict[str, set[tuple[str, str]]] = {name: set() for name in judged}
    for failed in report["results"]["failed_checks"]:
        found[failed["resource"].split(".")[1]].add((failed["check_id"], failed["resource"]))
    return found


def unmeant(found: set[tuple[str, str]]) -> set[tuple[str, str]]:
    return {(check, name) for check, name in found if check not in MEANT or not re.search(MEANT[check][0], name)}


def test_checkov_finds_nothing_that_is_not_meant(checkov: dict[str, set[tuple[str, str]]]) -> None:
    assert set().union(*(unmeant(checkov[name]) for name in CI_VALUES)) == set()
    used = {check for name in CI_VALUES for check, _ in checkov[name]}
    assert used == set(MEANT), "an entry that nothing needs any more hides what comes"


def test_checkov_finds_what_is_not_hardened(checkov: dict[str, set[tuple[str, str]]]) -> None:
    same = {"CKV_K8S_15", "CKV_K8S_43", "CKV2_K8S_6"}  # as in the trial values, without their policies
    found = {name: {check for check, _ in unmeant(checkov[name])} - same for name in UNHARDENED}
    assert found == {name: checks for name, (_, _, checks) in UNHARDENED.items()}
