"""The README is true: its tables are those of the code, its examples run."""

import ast
import re
import subprocess
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pexpect
import pytest
import requests
from flask import Flask
from pydantic import SecretStr
from pydantic_core import PydanticUndefined
from werkzeug.serving import make_server

from app.bootstrap.stores import Stores
from app.config.settings import PREFIX, Settings, variables
from app.devkit.exports import export_lines, kept
from app.devkit.processes import Process, wait_until
from app.domain.signature import by_secret, headers
from tests.support.dev_run import ANYWHERE, end, line_with, running
from tests.support.paths import ROOT

# The walk's last call.
MISTAKE = "curl: (22) The requested URL returned error: 422"
# What a terminal puts round what is pasted.
BRACKETS = ("\x1b[200~", "\x1b[201~")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(title: str) -> list[str]:
    """The rows of the section's table."""
    return [line for line in section(title).splitlines() if line.startswith("| ")][1:]


def block(title: str, language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", section(title), re.DOTALL)
    assert found
    return found[1]


def written(value: Any) -> str:
    """A default as an operator would write it."""
    match value:
        case None | () | "" | _ if value is PydanticUndefined or value in (None, (), ""):
            return ""
        case SecretStr():
            return f"`{value.get_secret_value()}`"
        case bool():
            return f"`{str(value).lower()}`"
        case tuple() | frozenset():
            return "`" + ",".join(f"{part:g}" for part in sorted(value)) + "`"
        case int() | float():
            return f"`{value:g}`" if value < 1e6 else f"`{value}`"
        case _:
            return f"`{value}`"


def test_the_table_of_settings_is_that_of_the_code() -> None:
    assert rows("Settings") == [
        f"| `{PREFIX}{name.upper()}` | {written(field.default)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]


def test_the_map_says_what_the_folders_say_of_themselves() -> None:
    packages = [*(ROOT / "app").glob("*/__init__.py"), ROOT / "workers" / "__init__.py"]
    modules = [module for module in (ROOT / "app").glob("*.py") if module.name != "__init__.py"]
    first_lines = {
        str(place.relative_to(ROOT)): (
            ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
        ).splitlines()[0]
        for place, source in [*((package.parent, package) for package in packages), *zip(modules, modules, strict=True)]
    }
    expected = [f"| `{place}` | {line} |" for place, line in sorted(first_lines.items())]
    assert [row for row in rows("The map") if "`tests`" not in row] == expected


def test_the_table_of_dependencies_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.split(r"[\[>=]", requirement)[0] for requirement in project["dependencies"]]
    assert [row.split("|")[1].strip() for row in rows("What it stands on")] == names


@pytest.fixture
def receiver_of_the_readme(registration: Any) -> Iterator[tuple[str, str]]:
    """Its URL, and the secret that it verifies with."""
    secret = registration().secret
    scope: dict[str, Any] = {"SECRET": secret, "__name__": "__main__"}
    exec(block("A receiver", "python"), scope)
    app: Flask = scope["app"]
    server = make_server("127.0.0.1", 0, app)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}/hooks/cph", secret
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_receiver_takes_what_is_signed_and_nothing_else(
    receiver_of_the_readme: tuple[str, str], stores: Stores
) -> None:
    url, secret = receiver_of_the_readme
    for kind, more in (
        ("job.succeeded", b'"job":{"job_id":"j","state":"succeeded"}'),
        ("group.finished", b'"jobs":[{"job_id":null,"state":"failed"},{"job_id":"j","state":"succeeded"}]'),
        ("callback.test", b'"registration_id":null'),
    ):
        body = b'{"id":"evt_1","type":"%s","data":{%s}}' % (kind.encode(), more)
        signed = headers([by_secret(secret)], "evt_1", stores.clock(), body)
        assert requests.post(url, data=body, headers=signed, timeout=5).status_code == 204, kind
        assert requests.post(url, data=body + b" ", headers=signed, timeout=5).status_code == 500, kind


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with a `./dev env` as simple as can be."""
    dev = tmp_path / "dev"
    dev.write_text("#!/bin/sh\ncat .dev/run-*.env\n", encoding="utf-8")
    dev.chmod(0o755)
    return tmp_path


def test_the_walk_with_curl_works_as_written(workers: Any, checkout: Path) -> None:
    walk = block("A walk with curl", "sh")
    exports = {
        "BRIDGE_URL": workers.bridge.url,
        "BRIDGE_KEY": workers.bridge.key,
        "CALLBACK_URL": workers.receiver.url,
        "CALLBACK_SECRET": workers.bridge.secret,
        "STANDIN": workers.standin.url,
    }
    # On a busy machine workers take longer to start than the walk waits.
    workers.wait_until_delivered(workers.register(workers.job()), timeout=120)
    with kept(export_lines(exports), checkout / ".dev"):
        walked = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", walk],
            cwd=checkout,
            capture_output=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
    assert walked.returncode == 0, walked.stdout + walked.stderr
    assert walked.stderr.splitlines() == [MISTAKE]
    assert '"secret":"whsec_' in walked.stdout
    assert '"state":"finished"' in walked.stdout
    assert '"pointer"' in walked.stdout
    assert '"hint"' in walked.stdout
    workers.receiver.wait_for(4)
    callbacks = workers.receiver.callbacks
    assert {callback.event["type"] for callback in callbacks} == {"job.succeeded", "group.finished", "callback.test"}
    assert all(callback.verified_by(workers.bridge.secret) for callback in callbacks)


def test_the_comments_of_the_walk_do_no_harm_where_they_are_run_as_commands() -> None:
    """As an interactive zsh does, unless it is told otherwise."""
    comments = [line for line in block("A walk with curl", "sh").splitlines() if line.startswith("#")]
    assert [line for line in comments if not re.fullmatch(r"# [\w ,.:-]+", line)] == []


@pytest.mark.slow
def test_the_walk_is_pasted_twice_into_a_shell_beside_a_run(
    checkout: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    walk = block("A walk with curl", "sh")
    with running(checkout, tmp_path_factory.mktemp("t"), *ANYWHERE) as run:
        line_with(run, "Ctrl-C ends")
        with interactive_bash(checkout) as shell:
            # Line by line, and as a terminal does that tells pasted text from typed one.
            shown = pasted(shell, walk), pasted(shell, f"{BRACKETS[0]}{walk}{BRACKETS[1]}")
        for kind in ("job.succeeded", "group.finished", "callback.test"):
            wait_until(lambda: both_arrived(run, kind), what=f"two times {kind}")  # noqa: B023 - called at once
        end(run)
    for text in shown:
        assert re.findall(r"curl: .*|.*not found.*|.*Traceback.*|.*bash:.*", text) == [MISTAKE], text
        assert text.count('"state":"finished"') == text.count('"hint"') == 1, text


@contextmanager
def interactive_bash(folder: Path) -> Iterator[Any]:
    shell = pexpect.spawn(
        *("bash", ["--norc", "--noprofile", "-i"]),
        cwd=str(folder),
        env={"PATH": variables()["PATH"], "TERM": "xterm-256color", "PS1": "$ ", "HOME": str(folder)},
        encoding="utf-8",
        timeout=60,
        dimensions=(30, 80),
    )
    yield shell
    shell.close(force=True)


def pasted(shell: Any, text: str) -> str:
    """What it shows then, until it is through."""
    shell.expect_exact("$ ")
    shell.send(f"{text}\n")
    shell.sendline("printf 'walked %s\\n' on")
    shell.expect_exact("walked on\r\n")
    return str(shell.before).replace("\r", "")


def both_arrived(run: Process, kind: str) -> bool:
    return sum(f"{kind}, signature verified" in line for line in run.lines) == 2
