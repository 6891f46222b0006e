"""Projects that change under a running worker."""

import json
import os
import signal
from pathlib import Path

from app.devkit.processes import wait_until


def test_a_worker_goes_on_watching_while_its_projects_change(whole, running, tmp_path: Path) -> None:
    file = tmp_path / "projects.yaml"
    about = running[1].about
    login = {"user": about["iam_user"], "domain": about["iam_domain"], "password_env": "BRIDGE_IAM_PASSWORD"}
    place = {"project_id": about["project_id"], "endpoint": about["url"], "iam_endpoint": about["url"]}
    project = place | {"credentials": login}
    file.write_text(json.dumps({"projects": {"default": project | {"rate": 900}}}))
    worker = whole.start_worker("poll", BRIDGE_PROJECTS_FILE=str(file))
    whole.start_worker("deliver")
    job_id = whole.job(duration_s=600)
    registration = whole.register(job_id)
    wait_until(lambda: whole.look(registration)["jobs"][0]["state"] == "running", what="the first answer")
    file.write_text("projects: {default: {}}")
    os.kill(worker.pid, signal.SIGHUP)
    wait_until(lambda: "projects.not_reloaded" in whole.log_of("worker-poll"), what="a word about the broken file")
    file.write_text(json.dumps({"projects": {"default": project | {"rate": 800}}}))
    os.kill(worker.pid, signal.SIGHUP)
    wait_until(lambda: "cph_clients.reloaded" in whole.log_of("worker-poll"), what="the new clients")
    whole.job(job_id=job_id, duration_s=0)
    whole.wait_until_delivered(registration)
    [shown] = whole.bridge.call("GET", "/v1/projects")["items"]
    assert shown["state"] == "ok"
