"""Projects change while a worker runs."""

import json
import os
import signal
from pathlib import Path

import pytest

from app.devkit.processes import wait_until
from tests.whole.conftest import Deployment

pytestmark = pytest.mark.slow  # starts and kills processes


def test_a_worker_goes_on_watching_while_its_projects_change(deployment: Deployment, tmp_path: Path) -> None:
    file = tmp_path / "projects.yaml"
    about = deployment.about_cph
    login = {"user": about["iam_user"], "domain": about["iam_domain"], "password_env": "BRIDGE_IAM_PASSWORD"}
    addresses = {"project_id": about["project_id"], "endpoint": about["url"], "iam_endpoint": about["url"]}
    project = addresses | {"credentials": login}
    file.write_text(json.dumps({"projects": {"default": project | {"rate": 900}}}), encoding="utf-8")
    worker = deployment.start_worker("poll", BRIDGE_PROJECTS_FILE=str(file))
    deployment.start_worker("deliver")
    job_id = deployment.job(duration_s=600)
    registration = deployment.register(job_id)
    wait_until(
        lambda: deployment.get_registration(registration)["jobs"][0]["state"] == "running", what="the first answer"
    )
    file.write_text("projects: {default: {}}", encoding="utf-8")
    os.kill(worker.pid, signal.SIGHUP)
    wait_until(
        lambda: "projects.not_reloaded" in deployment.log_of("worker-poll"), what="a log line about the broken file"
    )
    file.write_text(json.dumps({"projects": {"default": project | {"rate": 800}}}), encoding="utf-8")
    # The worker also notices a change without a signal.
    wait_until(lambda: "cph_clients.reloaded" in deployment.log_of("worker-poll"), what="the new clients")
    deployment.job(job_id=job_id, duration_s=0)
    deployment.wait_until_delivered(registration)
    assert shown_project(deployment)["state"] == "ok"


@pytest.mark.slow
def test_a_refused_project_is_tried_at_once_when_its_secret_has_changed(deployment: Deployment, tmp_path: Path) -> None:
    about = deployment.about_cph
    token = tmp_path / "token"
    token.write_text("not-the-token", encoding="utf-8")
    addresses = {"project_id": about["project_id"], "endpoint": about["url"]}
    file = tmp_path / "projects.yaml"
    file.write_text(
        json.dumps({"projects": {"default": addresses | {"credentials": {"token_file": str(token)}}}}), encoding="utf-8"
    )
    worker = deployment.start_worker("poll", BRIDGE_PROJECTS_FILE=str(file))
    deployment.start_worker("deliver")
    registrations = [deployment.register(deployment.job()) for _ in range(3)]
    wait_until(lambda: shown_project(deployment)["state"] == "refused", what="a refusal")
    assert shown_project(deployment)["budget"]["paused_until"]
    assert "not-the-token" not in deployment.log_of("worker-poll")
    token.write_text(about["token"], encoding="utf-8")
    os.kill(worker.pid, signal.SIGHUP)
    deployment.wait_until_delivered(*registrations)
    assert shown_project(deployment)["state"] == "ok"
    assert deployment.log_of("worker-poll").count('"project.refused"') == 1
    assert deployment.log_of("worker-poll").count('"project.answers_again"') == 1


def shown_project(deployment: Deployment) -> dict:
    [project] = deployment.bridge.call("GET", "/v1/projects")["items"]
    return project
