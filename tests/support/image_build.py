"""Builds the image with buildah, on a base built from Debian packages instead of the registry's base image."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support import tools
from tests.support.pods import ROOT, Image

INSTALL = "apt-get install buildah debootstrap"
BASE = ROOT / ".dev" / "image-base"  # kept between runs, as it takes minutes
NAME, BASE_NAME = "localhost/cph-webhook-bridge", "localhost/image-base"
# The configuration with which this machine reaches its package registries.
READ_ONLY = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf", "/etc/xdg/pip")


@contextmanager
def built(folder: Path) -> Iterator[tuple[Image, dict[str, Any]]]:
    """The image, mounted in the folder until the context ends, and its configuration."""
    buildah, debootstrap = (tools.program(name, INSTALL) for name in ("buildah", "debootstrap"))
    if os.geteuid() != 0:
        tools.cannot("root is missing: debootstrap and namespaces need it")
    storage = [f"--root={folder}/storage", f"--runroot={folder}/run", "--storage-driver=overlay"]

    def call(*arguments: str | Path) -> str:
        done = subprocess.run([buildah, *storage, *arguments], capture_output=True, encoding="utf-8", check=False)
        assert done.returncode == 0, f"buildah {arguments[0]}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout.strip()

    try:
        call("bud", "--squash", *_options(_base(debootstrap, call)), f"--tag={NAME}", ROOT)
        config: dict[str, Any] = json.loads(call("inspect", "--type=image", NAME))["OCIv1"]["config"]
        environment = dict(entry.split("=", 1) for entry in config["Env"])
        root = Path(call("mount", call("from", NAME)))
        yield Image(root, config["User"], environment, shell=False), config
    finally:
        call("umount", "--all")
        shutil.rmtree(folder, ignore_errors=True)


def _options(base: str) -> list[str]:
    volumes = [f"--volume={path}:{path}:ro" for path in READ_ONLY if Path(path).exists()]
    return ["--format=docker", "--isolation=chroot", "--build-arg", f"BASE_IMAGE={base}", *volumes]


def _base(debootstrap: str, call: Any) -> str:
    """The name of an image with Debian and its Python. Builds it if it does not exist."""
    if not BASE.is_dir():
        new = BASE.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        new.parent.mkdir(exist_ok=True)
        packages = "--include=python3,python3-venv,ca-certificates"
        subprocess.run(
            [debootstrap, "--variant=minbase", packages, "bookworm", new], check=True, stdout=subprocess.DEVNULL
        )
        shutil.rmtree(new / "var/cache/apt/archives", ignore_errors=True)
        new.rename(BASE)
    container = call("from", "scratch")
    call("add", "--quiet", container, BASE, "/")
    call("commit", "--quiet", "--rm", container, BASE_NAME)
    return BASE_NAME
