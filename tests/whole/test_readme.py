"""The README matches the code: its tables are complete and correct, and its examples run."""

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
from app.devkit.exports import export_lines, exports_file
from app.devkit.processes import Process, wait_until
from app.domain.signature import by_secret, headers
from tests.support.dev_run import ANYWHERE, end, line_with, running
from tests.support.paths import ROOT
from tests.whole.conftest import Deployment

# The walk ends with a call that the API refuses.
REFUSED_CALL = "curl: (22) The requested URL returned error: 422"
# A terminal puts these around pasted text (bracketed paste).
PASTE_BRACKETS = ("\x1b[200~", "\x1b[201~")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(title: str) -> list[str]:
    """The rows of the section's table, without its header."""
    return [line for line in section(title).splitlines() if line.startswith("| ")][1:]


def block(title: str, language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", section(title), re.DOTALL)
    assert found
    return found[1]


def default_text(value: Any) -> str:
    """The default as an operator writes it in the environment."""
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
        f"| `{PREFIX}{name.upper()}` | {default_text(field.default)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]


def test_the_map_says_what_the_folders_say_of_themselves() -> None:
    packages = [*(ROOT / "app").glob("*/__init__.py"), ROOT / "workers" / "__init__.py"]
    modules = [module for module in (ROOT / "app").glob("*.py") if module.name != "__init__.py"]
    first_lines = {
        str(path.relative_to(ROOT)): (
            ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
        ).splitlines()[0]
        for path, source in [*((package.parent, package) for package in packages), *zip(modules, modules, strict=True)]
    }
    expected = [f"| `{path}` | {line} |" for path, line in sorted(first_lines.items())]
    assert [row for row in rows("The map") if "`tests`" not in row] == expected


def test_the_table_of_dependencies_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.split(r"[\[>=]", requirement)[0] for requirement in project["dependencies"]]
    assert [row.split("|")[1].strip() for row in rows("What it stands on")] == names


@pytest.fixture
def readme_receiver(registration: Any) -> Iterator[tuple[str, str]]:
    """The receiver of the README's example: its URL and its secret."""
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


def test_the_receiver_takes_what_is_signed_and_nothing_else(readme_receiver: tuple[str, str], stores: Stores) -> None:
    url, secret = readme_receiver
    for event_type, data in (
        ("job.succeeded", b'"job":{"job_id":"j","state":"succeeded"}'),
        ("group.finished", b'"jobs":[{"job_id":null,"state":"failed"},{"job_id":"j","state":"succeeded"}]'),
        ("callback.test", b'"registration_id":null'),
    ):
        body = b'{"id":"evt_1","type":"%s","data":{%s}}' % (event_type.encode(), data)
        signed = headers([by_secret(secret)], "evt_1", stores.clock(), body)
        assert requests.post(url, data=body, headers=signed, timeout=5).status_code == 204, event_type
        assert requests.post(url, data=body + b" ", headers=signed, timeout=5).status_code == 500, event_type


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with a minimal `./dev`, whose `env` prints the exports."""
    dev = tmp_path / "dev"
    dev.write_text("#!/bin/sh\ncat .dev/run-*.env\n", encoding="utf-8")
    dev.chmod(0o755)
    return tmp_path


def test_the_walk_with_curl_works_as_written(running_deployment: Deployment, checkout: Path) -> None:
    walk = block("A walk with curl", "sh")
    exports = {
        "BRIDGE_URL": running_deployment.bridge.url,
        "BRIDGE_KEY": running_deployment.bridge.key,
        "CALLBACK_URL": running_deployment.receiver.url,
        "CALLBACK_SECRET": running_deployment.bridge.secret,
        "STANDIN": running_deployment.standin.url,
    }
    # On a busy machine, workers may take longer to start than the walk waits.
    running_deployment.wait_until_delivered(running_deployment.register(running_deployment.job()), timeout=120)
    with exports_file(export_lines(exports), checkout / ".dev"):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", walk],
            cwd=checkout,
            capture_output=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.splitlines() == [REFUSED_CALL]
    assert '"secret":"whsec_' in done.stdout
    assert '"state":"finished"' in done.stdout
    assert '"pointer"' in done.stdout
    assert '"hint"' in done.stdout
    running_deployment.receiver.wait_for(4)
    callbacks = running_deployment.receiver.callbacks
    assert {callback.event["type"] for callback in callbacks} == {"job.succeeded", "group.finished", "callback.test"}
    assert all(callback.verified_by(running_deployment.bridge.secret) for callback in callbacks)


def test_the_comments_of_the_walk_do_no_harm_where_they_are_run_as_commands() -> None:
    """By default, an interactive zsh runs comment lines as commands."""
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
            # Pasted without and with bracketed paste.
            outputs = paste(shell, walk), paste(shell, f"{PASTE_BRACKETS[0]}{walk}{PASTE_BRACKETS[1]}")
        for kind in ("job.succeeded", "group.finished", "callback.test"):
            wait_until(lambda: both_arrived(run, kind), what=f"two times {kind}")  # noqa: B023 - called at once
        end(run)
    for text in outputs:
        assert re.findall(r"curl: .*|.*not found.*|.*Traceback.*|.*bash:.*", text) == [REFUSED_CALL], text
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


def paste(shell: Any, text: str) -> str:
    """Pastes the text and returns the output until all commands have ended."""
    shell.expect_exact("$ ")
    shell.send(f"{text}\n")
    shell.sendline("printf 'walked %s\\n' on")
    shell.expect_exact("walked on\r\n")
    return str(shell.before).replace("\r", "")


def both_arrived(run: Process, kind: str) -> bool:
    return sum(f"{kind}, signature verified" in line for line in run.lines) == 2
