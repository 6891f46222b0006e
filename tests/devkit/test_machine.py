"""Which environment variables and pip settings `./dev` passes on."""

import re
import sys
from pathlib import Path

import pytest

from app.devkit import machine
from app.devkit.install import ROOT

PIP = (sys.executable, "-I", "-m", "pip", "--disable-pip-version-check")


def test_the_lists_are_those_of_the_docs() -> None:
    text = (ROOT / "docs" / "development.md").read_text(encoding="utf-8")
    rows = re.search(r"\| by \| variables \|\n\|---\|---\|\n((?:\|.*\n)+)", text)
    assert rows
    listed = [re.findall("`([^`]+)`", row.split("|")[2]) for row in rows[1].splitlines()]
    assert listed == [list(machine.MACHINE), list(machine.NETWORK), ["PIP_…", *sorted(machine.PIP)]]


def test_what_is_not_listed_is_cleared(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LC_ALL", "PYTHONHOME", "PIP_USER", "BRIDGE_LEASE_S", "HTTPS_PROXY", "npm_config_registry"):
        monkeypatch.setenv(name, "x")
    environment = machine.child_environment()
    assert environment["LC_ALL"] == "x"
    assert {name for name in environment if name.startswith(("PYTHON", "PIP", "BRIDGE", "HTTPS"))} == {"PYTHONUTF8"}
    added = set(machine.child_environment(installing=True)) - set(environment)
    assert added >= {"HTTPS_PROXY", "npm_config_registry"}
    assert "BRIDGE_LEASE_S" in machine.ignored_settings()


def test_of_pip_only_where_packages_come_from_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "pip.conf"
    lines = ["[global]", "index-url = http://a/simple", "user = true", "timeout = 7", "find-links =", "  /x", "  /y"]
    # If pip used this interpreter, it would exit with 1.
    lines.append("python = /bin/false")
    file.write_text("\n".join([*lines, "[install]", "target = /nope", "timeout = 8"]), encoding="utf-8")
    for name in ("PIP_INDEX_URL", "PIP_FIND_LINKS", "PIP_TIMEOUT", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    monkeypatch.setenv("PIP_INDEX_URL", "http://b/simple")
    monkeypatch.setenv("PIP_USER", "1")
    settings = machine.pip_settings(PIP)
    assert settings["PIP_CONFIG_FILE"] == "/dev/null"
    assert settings["PIP_INDEX_URL"] == "http://b/simple"
    assert settings["PIP_TIMEOUT"] == "8"
    assert settings["PIP_FIND_LINKS"].split() == ["/x", "/y"]
    assert {"PIP_USER", "PIP_TARGET"} & settings.keys() == set()


@pytest.mark.parametrize(
    ("cache", "home", "folder"),
    [
        ("/cache", "/home/a", "/cache/cph-webhook-bridge"),
        ("", "/home/a", "/home/a/.cache/cph-webhook-bridge"),
        ("cache", "/home/a", "/home/a/.cache/cph-webhook-bridge"),
        ("cache", "home", str(ROOT / ".dev")),
    ],
)
def test_a_cache_is_never_where_a_relative_path_leads(
    monkeypatch: pytest.MonkeyPatch, cache: str, home: str, folder: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", cache)
    monkeypatch.setenv("HOME", home)
    monkeypatch.chdir(ROOT)
    assert machine.cache_folder() == Path(folder)


def test_a_server_is_looked_for_where_dev_was_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEV_CALLED_IN", "/elsewhere")
    for given, expected in (("./a/server", "/elsewhere/a/server"), ("/a/server", "/a/server"), ("server", "server")):
        monkeypatch.setenv("REDIS_SERVER", given)
        assert machine.child_environment()["REDIS_SERVER"] == expected


def test_files_of_pip_that_it_cannot_read_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "pip.conf"
    file.write_text("no section", encoding="utf-8")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    with pytest.raises(ValueError, match="contains no section headers"):
        machine.pip_settings(PIP)
