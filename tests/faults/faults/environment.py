"""Faults of what surrounds the processes: standard error, files, descriptors, processors."""

import fcntl
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tests.faults.catalog import define, fault
from tests.faults.cph import PROJECT_ID, TOKEN
from tests.faults.scene import Scene, Setting

GROUP = "environment"
PIPE_BYTES = 4096
TENANTS_FILE = "tenants:\n  ann: {quotas: {registrations: 1000}}\n"
PROJECTS_FILE = f"""projects:
  default:
    project_id: {PROJECT_ID}
    endpoint: {{cph}}
    credentials:
      token_file: {{folder}}/token
"""
TEMPLATE = '{"id": {{ event.id | tojson }}}'


def with_stderr(scene: Scene, descriptor: int, *roles: str) -> None:
    """Replaces the processes by some with this standard error, and those by others again."""
    scene.fleet.stderr = descriptor
    scene.fleet.restart(*roles)
    scene.pause(1)
    scene.wait_until_at_work()
    scene.pause(8)
    scene.fleet.stderr = None
    scene.fleet.restart(*roles)
    scene.pause(1)
    scene.wait_until_at_work()
    os.close(descriptor)


def full_pipe() -> tuple[int, int]:
    """(reading, writing end) of a small pipe, already full."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    os.set_blocking(writing, False)
    os.write(writing, b"." * PIPE_BYTES)
    os.set_blocking(writing, True)
    return reading, writing


def stderr_full(scene: Scene, roles: Sequence[str]) -> None:
    reading, writing = full_pipe()
    with_stderr(scene, writing, *roles)
    os.close(reading)


for label, roles in (("workers", ("poll", "deliver")), ("api", ("api",))):
    define(
        GROUP,
        f"stderr-of-{label}-full",
        f"nobody reads the standard error of {label}, for 8 s",
        partial(stderr_full, roles=roles),
        goes_on=True,
        quick=label == "workers",
    )


@fault(GROUP, "the reader of every standard error is gone", goes_on=True)
def stderr_closed(scene: Scene) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with_stderr(scene, writing, "api", "poll", "deliver")


@fault(GROUP, "the disk of the logs is full", goes_on=True)
def log_disk_full(scene: Scene) -> None:
    with_stderr(scene, os.open("/dev/full", os.O_WRONLY), "api", "poll", "deliver")


@fault(GROUP, "the alive files cannot be written for 8 s", goes_on=True)
def alive_file_unwritable(scene: Scene) -> None:
    files = list(scene.folder.glob("alive-*"))
    for file in files:
        file.unlink()
        file.mkdir()
    scene.pause(8)
    for file in files:
        file.rmdir()


def break_file(scene: Scene, name: str, content: bytes | None) -> None:
    """Replaces an operator's file, or removes it, and restores it."""
    file = scene.folder / name
    before = file.read_bytes() if file.exists() else None
    for wanted in (content, before):
        _write(file, wanted)
        for member in scene.fleet.of():
            member.send(signal.SIGHUP)
        scene.pause(6 if wanted is content else 0)


def _write(file: Path, content: bytes | None) -> None:
    if content is None:
        file.unlink(missing_ok=True)
    else:
        file.write_bytes(content)


def with_tenants(content: str) -> Setting:
    return Setting(variables={"BRIDGE_TENANTS_FILE": "{folder}/tenants.yaml"}, files={"tenants.yaml": content})


def with_projects(content: str) -> Setting:
    return Setting(
        variables={"BRIDGE_PROJECTS_FILE": "{folder}/projects.yaml"}, files={"projects.yaml": content, "token": TOKEN}
    )


FILES: tuple[tuple[str, str, str, bytes | None, Setting], ...] = (
    ("tenants-file-broken", "tenants.yaml", "is no YAML", b"tenants: [\x00", with_tenants(TENANTS_FILE)),
    ("projects-file-not-utf-8", "projects.yaml", "is not UTF-8", b"\xff\xfe\x00", with_projects(PROJECTS_FILE)),
    ("projects-file-empty", "projects.yaml", "is empty", b"", with_projects(PROJECTS_FILE)),
    (
        "template-loops",
        "templates/other.json.j2",
        "never ends",
        b"{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        Setting(variables={"BRIDGE_TEMPLATES_DIR": "{folder}/templates"}, files={"templates/sound.json.j2": TEMPLATE}),
    ),
)
for name, file, text, content, setting in FILES:
    define(
        GROUP,
        name,
        f"{file} {text} for 6 s while all runs and reads it again",
        partial(break_file, name=file, content=content),
        setting=setting,
        goes_on=True,
    )


def limit_descriptors(scene: Scene, role: str) -> None:
    """No further file or connection can be opened for 6 s."""
    member = scene.pick(role)
    pids = member.family()
    for pid in pids:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, 4096))
    scene.pause(6)
    for pid in pids:
        if Path(f"/proc/{pid}").exists():
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (1024, 4096))


for role in ("api", "poll", "deliver"):
    define(
        GROUP,
        f"no-descriptors-for-{role}",
        f"a {role} process can open no file or connection for 6 s",
        partial(limit_descriptors, role=role),
        may_exit=True,
        recovers_s=20,
    )


@fault(
    GROUP,
    "there is no folder for temporary files: all processes start anew",
    setting=Setting(variables={"TMPDIR": "/nonexistent"}),
    recovers_s=25,
)
def no_temporary_folder(scene: Scene) -> None:
    scene.fleet.restart("api", "poll", "deliver")
    scene.pause(3)


@fault(GROUP, "eight busy processes take the processors for 8 s")
def processors_busy(scene: Scene) -> None:
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(8)]
    scene.pause(8)
    for process in busy:
        process.kill()
        process.wait()
