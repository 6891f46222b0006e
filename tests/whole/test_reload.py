"""Projects that change under a running worker."""

import json
import os
import signal
from pathlib import Path

import pytest

from app.devkit.processes import wait_until

pytestmark = pytest.mark.slow  # processes start, and die


def test_a_worker_goes_on_watching_while_its_projects_change(whole, running, tmp_path: Path) -> None:
    file = tmp_path / "projects.yaml"
    about = running[1].about
    login = {"user": about["iam_user"], "domain": about["iam_domain"], "password_env": "BRIDGE_IAM_PASSWORD"}
    place = {"project_id": about["project_id"], "endpoint": about["url"], "iam_endpoint": about["url"]}
    project = place | {"credentials": login}
    file.write_text(json.dumps({"projects": {"default": project | {"rate": 900}}}), encoding="utf-8")
    worker = whole.start_worker("poll", BRIDGE_PROJECTS_FILE=str(file))
    whole.start_worker("deliver")
    job_id = whole.job(duration_s=600)
    registration = whole.register(job_id)
    wait_until(lambda: whole.look(registration)["jobs"][0]["state"] == "running", what="the first answer")
    file.write_text("projects: {default: {}}", encoding="utf-8")
    os.kill(worker.pid, signal.SIGHUP)
    wait_until(lambda: "projects.not_reloaded" in whole.log_of("worker-poll"), what="a word about the broken file")
    file.write_text(json.dumps({"projects": {"default": project | {"rate": 800}}}), encoding="utf-8")
    # Seen without a signal too.
    wait_until(lambda: "cph_clients.reloaded" in whole.log_of("worker-poll"), what="the new clients")
    whole.job(job_id=job_id, duration_s=0)
    whole.wait_until_delivered(registration)
    assert project_of(whole)["state"] == "ok"


@pytest.mark.slow
def test_a_refused_project_is_tried_at_once_when_its_secret_has_changed(whole, running, tmp_path: Path) -> None:
    about = running[1].about
    token = tmp_path / "token"
    token.write_text("not-the-token", encoding="utf-8")
    place = {"project_id": about["project_id"], "endpoint": about["url"]}
    file = tmp_path / "projects.yaml"
    file.write_text(
        json.dumps({"projects": {"default": place | {"credentials": {"token_file": str(token)}}}}), encoding="utf-8"
    )
    worker = whole.start_worker("poll", BRIDGE_PROJECTS_FILE=str(file))
    whole.start_worker("deliver")
    registrations = [whole.register(whole.job()) for _ in range(3)]
    wait_until(lambda: project_of(whole)["state"] == "refused", what="a refusal")
    assert project_of(whole)["budget"]["paused_until"]
    assert "not-the-token" not in whole.log_of("worker-poll")
    token.write_text(about["token"], encoding="utf-8")
    os.kill(worker.pid, signal.SIGHUP)
    whole.wait_until_delivered(*registrations)
    assert project_of(whole)["state"] == "ok"
    assert whole.log_of("worker-poll").count('"project.refused"') == 1
    assert whole.log_of("worker-poll").count('"project.answers_again"') == 1


def project_of(whole) -> dict:
    [shown] = whole.bridge.call("GET", "/v1/projects")["items"]
    return shown
