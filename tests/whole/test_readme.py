"""The README is true: its tables are those of the code, its examples run."""

import ast
import os
import re
import subprocess
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from pydantic import SecretStr
from pydantic_core import PydanticUndefined
from werkzeug.serving import make_server

from app.domain.signature import by_secret, headers
from app.runtime import Runtime
from app.settings import PREFIX, Settings

ROOT = Path(__file__).parent.parent.parent
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
    receiver_of_the_readme: tuple[str, str], runtime: Runtime
) -> None:
    url, secret = receiver_of_the_readme
    body = b'{"id":"evt_1","type":"job.succeeded","data":{"job":{"job_id":"j"}}}'
    signed = headers([by_secret(secret)], "evt_1", runtime.clock(), body)
    assert requests.post(url, data=body, headers=signed, timeout=5).status_code == 204
    assert requests.post(url, data=body + b" ", headers=signed, timeout=5).status_code == 500


def test_the_walk_with_curl_works_as_written(workers: Any) -> None:
    walk = block("A walk with curl", "sh")
    environment = {
        "API": workers.bridge.url,
        "KEY": workers.bridge.key,
        "INBOX": workers.receiver.url,
        "SECRET": workers.bridge.secret,
        "JOB": workers.job(duration_s=60),
    }
    walked = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", walk],
        env={**os.environ, **environment},  # noqa: TID251 - PATH, handed on
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert walked.returncode == 0, walked.stdout + walked.stderr
    assert '"secret":"whsec_' in walked.stdout
    assert '"pointer"' in walked.stdout
    assert walk.count('"$INBOX\\"') == walk.count('"$SECRET\\"') == 3
    assert [callback.event["type"] for callback in workers.receiver.callbacks] == ["callback.test"]
    assert workers.receiver.callbacks[0].verified_by(workers.bridge.secret)
