"""Builds the image and runs the rendered pods from it: unprivileged, on a read-only root, without a shell."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.devkit.processes import wait_until
from tests.support import tools
from tests.support.image_build import built
from tests.support.pods import Image, Node
from tests.support.rendered_chart import ROLES, render
from tests.support.running_chart import running, trial_values

pytestmark = pytest.mark.slow

NOWHERE = {"project_id": "p" * 32, "url": "http://127.0.0.1:9", "iam_user": "u", "iam_domain": "d"}


@pytest.fixture(scope="module")
def image_and_config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Image, dict[str, Any]]]:
    tools.module("helm_python")
    with built(tmp_path_factory.mktemp("image") / "built") as image:
        yield image


@pytest.fixture
def image(image_and_config: tuple[Image, dict[str, Any]]) -> Image:
    return image_and_config[0]


def test_it_says_what_it_is_and_runs_as_nobody(image_and_config: tuple[Image, dict[str, Any]]) -> None:
    _, config = image_and_config
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["cph-bridge"]
    assert config["Labels"]["org.opencontainers.image.title"] == "cph-webhook-bridge"
    assert {f"org.opencontainers.image.{name}" for name in ("version", "revision", "created")} <= set(config["Labels"])


def test_nothing_of_the_build_is_left_in_it(image: Image) -> None:
    packages = {path.name for path in image.root.glob("opt/bridge/lib/python3*/site-packages/*")}
    assert {"app", "workers", "flask"} <= packages
    assert packages & {"pip", "setuptools", "pytest", "tests"} == set()
    (application,) = image.root.glob("opt/bridge/lib/python3*/site-packages/app")
    assert not (application / "devkit").exists()
    assert not (image.root / "src").exists()
    assert not (image.root / "opt/build").exists()


def test_a_registration_ends_in_a_signed_callback(image: Image, tmp_path: Path) -> None:
    with running(tmp_path, image) as bridge:
        for role in ROLES:
            assert bridge.pods[role].run("touch", "/opt/bridge/here").returncode != 0
            assert (
                Path(f"/proc/{bridge.pods[role].pid}/status").read_text(encoding="utf-8").split("Uid:")[1].split()[0]
                == "10001"
            )
        key = bridge.key()
        bridge.wait_until_delivered(key, *bridge.register(key, bridge.job(duration_s=1)))
        assert [bridge.pods[role].terminate() for role in ROLES] == [0, 0, 0]


def test_it_is_healthy_without_a_network(image: Image, tmp_path: Path) -> None:
    offline_image = Image(image.root, image.user, image.environment, shell=False, network=False)
    with Node(tmp_path, render(trial_values(NOWHERE)), {("cph", "password"): "p"}, image=offline_image) as node:
        api, *workers = (node.start(role) for role in ROLES)
        for worker in workers:
            worker.wait_until_started()
            assert worker.healthy("livenessProbe")
        (port,) = (each["containerPort"] for each in api.spec["ports"] if each["name"] == "probes")
        ask = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1])"

        def answers(path: str) -> bool:
            return api.run("python3", "-c", ask, f"http://127.0.0.1:{port}{path}").returncode == 0

        wait_until(lambda: answers("/healthz"), what="the API lives")
        assert not answers("/readyz")
