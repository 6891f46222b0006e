"""A simulated node: runs rendered pods in namespaces, as a kubelet would, and calls their probes.

The root is read-only, files of ConfigMaps and Secrets are mounted, /tmp is private, and the container is PID 1.
"""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

from app.devkit.processes import Process, start, wait_until
from tests.support.paths import ROOT
from tests.support.rendered_chart import Object, Rendered

# $1 root, $2 its mount point, $3 user, $4 file with pairs of source and target, $5 whether there is a shell.
# Then the environment and the command.
CONTAINER_SCRIPT = """
set -eu
root=$1 new=$2 user=$3 mounts=$4 shell=$5; shift 5
mount --rbind "$root" "$new"
for part in dev sys; do mountpoint -q "$new/$part" || mount --rbind "/$part" "$new/$part"; done
[ -e "$new/etc/hosts" ] || : > "$new/etc/hosts"
mount -o remount,bind,ro "$new"
mount -t tmpfs -o mode=1777 tmpfs "$new/tmp"
mount -t tmpfs -o mode=755 tmpfs "$new/run"
mount -t proc proc "$new/proc"
while read -r source target; do
    [ -e "$new$target" ] || mkdir -p "$new$target"
    mount --bind "$source" "$new$target"
    mount -o remount,bind,ro "$new$target"
done < "$mounts"
[ "$shell" = yes ] || mount --bind /dev/null "$new/bin/sh"
! [ "$(readlink /proc/self/ns/net)" != "$(readlink /proc/$PPID/ns/net)" ] || ip link set lo up
exec chroot --userspec="$user" "$new" /usr/bin/env -i "$@"
"""

_opener = build_opener(ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Image:
    """The image of containers. environment: the variables that the image sets."""

    root: Path
    user: str
    environment: Mapping[str, str]
    shell: bool = True
    network: bool = True


class Container:
    def __init__(self, spec: Object, process: Process, environment: Mapping[str, str]) -> None:
        (self.spec,) = spec["containers"]
        self.grace = spec["terminationGracePeriodSeconds"]
        self.process = process
        self._environment = environment

    @property
    def pid(self) -> int:
        """The pid of the container's PID 1 outside its namespace."""
        children = (
            Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text(encoding="utf-8").split()
        )
        return int(children[0])

    def is_inside(self) -> bool:
        """Whether the process has changed its root."""
        try:
            return os.readlink(f"/proc/{self.pid}/root") != "/"  # noqa: PTH115 the link is broken outside the container
        except (OSError, IndexError):
            return False

    def run(self, *argv: str) -> "subprocess.CompletedProcess[str]":
        """Runs a command in the container as its user, like `kubectl exec`."""
        user, group = (self._status(field) for field in ("Uid", "Gid"))
        ids = [] if user == "0" else ["--setuid", user, "--setgid", group]
        enter = ["nsenter", "--target", str(self.pid), "--mount", "--pid", "--net", "--root", "--wd=/tmp", *ids]
        environment = [f"{name}={value}" for name, value in self._environment.items()]
        return subprocess.run(
            [*enter, "/usr/bin/env", "-i", *environment, *argv],
            capture_output=True,
            encoding="utf-8",
            check=False,
            timeout=60,
        )

    def _status(self, field: str) -> str:
        found = re.search(
            rf"^{field}:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8"), re.MULTILINE
        )
        assert found
        return found[1]

    def healthy(self, probe: str) -> bool:
        """Runs `startupProbe`, `livenessProbe` or `readinessProbe` once. True if the container has no such probe."""
        check = self.spec.get(probe, {})
        if "exec" in check:
            return self.run(*check["exec"]["command"]).returncode == 0
        if "httpGet" in check:
            (port,) = (each["containerPort"] for each in self.spec["ports"] if each["name"] == check["httpGet"]["port"])
            return _answers(f"http://127.0.0.1:{port}{check['httpGet']['path']}", check.get("timeoutSeconds", 1))
        return True

    def wait_until_started(self) -> None:
        probe = self.spec["startupProbe"]
        wait_until(
            lambda: self.process.exit_code is not None or self.healthy("startupProbe"),
            timeout=probe["periodSeconds"] * probe["failureThreshold"],
            what=f"{self.spec['name']} has started",
        )
        assert self.process.exit_code is None, f"{self.spec['name']} ended with {self.process.exit_code}"

    def terminate(self, then: Callable[[], object] = lambda: None) -> int:
        """Ends the container as the kubelet does: preStop, SIGTERM, the grace period. Returns the exit code.

        then: called after SIGTERM. TimeoutError if the grace period is too short.
        """
        stop = self.spec.get("lifecycle", {}).get("preStop")
        if stop:
            assert self.run(*stop["exec"]["command"]).returncode == 0
        os.kill(self.pid, signal.SIGTERM)
        then()
        try:
            wait_until(lambda: self.process.exit_code is not None, timeout=self.grace, what="its end within the grace")
            return self.process.exit_code or 0
        finally:
            self.process.kill()


def _answers(url: str, timeout: float) -> bool:
    try:
        with _opener.open(url, timeout=timeout):
            return True
    except (HTTPError, URLError, TimeoutError):
        return False


class Node:
    """secrets: (name, key) → value, of Secrets that are not in the chart. hosts: name → address."""

    def __init__(
        self,
        folder: Path,
        rendered: Rendered,
        secrets: Mapping[tuple[str, str], str],
        *,
        image: Image,
        hosts: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.rendered = rendered
        self._image = image
        self._secrets = dict(secrets)
        for manifest in rendered.of("Secret"):
            self._secrets |= {
                (manifest["metadata"]["name"], key): value for key, value in manifest["stringData"].items()
            }
        self._hosts = {"localhost": "127.0.0.1", **(hosts or {})}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self, role: str) -> Container:
        """Starts a pod of a role. Its startupProbe may not have succeeded yet."""
        folder = self.folder / f"{role}-{len(list(self.folder.glob(f'{role}-*'))) + 1}"
        (folder / "root").mkdir(parents=True)
        spec = self.rendered.pod(role)["spec"]
        mounts = {**self._files(spec, folder), str(self._etc_hosts(folder)): "/etc/hosts"}
        if self._image.root == Path("/"):
            mounts[str(ROOT)] = str(ROOT)  # the checkout may be in /tmp, which is private
        (folder / "mounts").write_text(
            "".join(f"{source} {target}\n" for source, target in mounts.items()), encoding="utf-8"
        )
        environment = {**self._image.environment, **self.environment(role)}
        process = start(
            [
                *("unshare", "--mount", "--pid", "--fork", "--kill-child"),
                *([] if self._image.network else ["--net"]),
                *(
                    "sh",
                    "-c",
                    CONTAINER_SCRIPT,
                    "begin",
                    self._image.root,
                    folder / "root",
                    self._image.user,
                    folder / "mounts",
                ),
                "yes" if self._image.shell else "no",
                *(f"{name}={value}" for name, value in environment.items()),
                *spec["containers"][0]["command"],
            ],
            log=folder / "log",
        )
        self._stack.callback(process.kill)
        container = Container(spec, process, environment)
        wait_until(lambda: process.exit_code is not None or container.is_inside(), what=f"a container of {role}")
        return container

    def environment(self, role: str) -> dict[str, str]:
        (container,) = self.rendered.pod(role)["spec"]["containers"]
        environment = self.rendered.environment(role)
        for entry in container["env"]:
            if reference := entry.get("valueFrom", {}).get("secretKeyRef"):
                environment[entry["name"]] = self._secrets[reference["name"], reference["key"]]
        return {
            name: re.sub(r"\$\((\w+)\)", lambda found: environment[found[1]], value)
            for name, value in environment.items()
        }

    def secret(self, name: str, key: str) -> str:
        return self._secrets[name, key]

    def log(self, role: str) -> str:
        return "".join(path.read_text(encoding="utf-8") for path in sorted(self.folder.glob(f"{role}-*/log")))

    def _etc_hosts(self, folder: Path) -> Path:
        file = folder / "hosts"
        file.write_text("".join(f"{address} {name}\n" for name, address in self._hosts.items()), encoding="utf-8")
        return file

    def _files(self, spec: Object, folder: Path) -> dict[str, str]:
        """Mounts as source folder → target. Writes the files of the sources."""
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        mounts = {}
        for mount in spec["containers"][0]["volumeMounts"]:
            volume = volumes[mount["name"]]
            if "emptyDir" in volume:
                continue
            volume_folder = folder / "volumes" / mount["name"]
            for path, text in self._content(volume).items():
                (volume_folder / path).parent.mkdir(parents=True, exist_ok=True)
                (volume_folder / path).write_text(text, encoding="utf-8")
            mounts[str(volume_folder)] = mount["mountPath"]
        return mounts

    def _content(self, volume: dict[str, Any]) -> dict[str, str]:
        if "configMap" in volume:
            data: dict[str, str] = self.rendered.one("ConfigMap", volume["configMap"]["name"])["data"]
            return data
        sources = volume["projected"]["sources"] if "projected" in volume else [volume]
        return {
            item["path"]: self._secrets[source["secret"].get("name") or source["secret"]["secretName"], item["key"]]
            for source in sources
            for item in source["secret"]["items"]
        }
