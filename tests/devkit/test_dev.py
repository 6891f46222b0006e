"""`./dev` on other people's machines: with their shells, locales, folders and pip settings."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.devkit.dev import QUIETLY
from app.devkit.exports import exports_file
from app.devkit.install import ROOT, wheels_folder
from tests.support import tools
from tests.support.checkouts import DONE, HERE, copy_to, demo, dev, is_whole

NOWHERE = "http://127.0.0.1:9/"
NO_NETWORK = {"PIP_NO_INDEX": "", "PIP_INDEX_URL": NOWHERE, "https_proxy": NOWHERE}
LONG = "a" * 100
STRANGE = "mit Leerzeichen, ü und 数据, %41?#'"

# Settings of other bridges, Pythons and pips, all of which ./dev ignores.
FOREIGN_SETTINGS = {
    "BRIDGE_TENANTS_FILE": "/nope",
    "BRIDGE_LEASE_S": "soon",
    "BRIDGE_REDIS_URL": "redis://127.0.0.1:9",
    "GUNICORN_CMD_ARGS": "--bind 127.0.0.1:1",
    "SCRIPT_NAME": "/open",
    "WEB_CONCURRENCY": "abc",
    "GIT_DIR": "/nope",
    "PYTHONPATH": "/nope",
    "PYTHONSTARTUP": "/nope",
    "PYTHONSAFEPATH": "1",
    "PYTHONOPTIMIZE": "2",
    "PYTHONWARNINGS": "error",
    "PYTHONIOENCODING": "ascii:strict",
    "PYTHONHOME": "/nope",
    "VIRTUAL_ENV": "/nope",
    "http_proxy": NOWHERE,
    "HTTPS_PROXY": NOWHERE,
}
FOREIGN_PIP_SETTINGS = {
    "PIP_USER": "1",
    "PIP_TARGET": "/nope",
    "PIP_PREFIX": "/nope",
    "PIP_ROOT": "/nope",
    "PIP_REQUIRE_VIRTUALENV": "1",
    "PIP_REQUIRE_HASHES": "1",
    "PIP_CONSTRAINT": "/nope",
    "PIP_LOG": "/nope/log",
    "PIP_NO_BINARY": ":all:",
    "PIP_DRY_RUN": "1",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout in which ./dev has never run."""
    return copy_to(tmp_path / "checkout")


@pytest.fixture(scope="module")
def used_checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which ./dev has run."""
    folder = copy_to(tmp_path_factory.mktemp("used") / "checkout")
    is_whole(folder)
    return folder


@pytest.fixture
def old_redis(tmp_path: Path) -> Path:
    """A folder for PATH with servers that are too old, as some distributions have them."""
    for name in ("redis-server", "valkey-server"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text("#!/bin/sh\necho Redis server v=6.0.16 sha=00000000:0\nexit 1\n", encoding="utf-8")
        program.chmod(0o755)
    return tmp_path / "bin"


def test_a_command_that_is_not_there_is_refused_with_those_that_are() -> None:
    done = dev(ROOT, "dmeo")
    assert (done.returncode, done.stdout) == (2, "")
    assert "./dev demo     shows jobs" in done.stderr
    assert done.stderr.endswith("./dev: no such command: dmeo\n")
    assert dev(ROOT, "--help").stdout == dev(ROOT).stdout != ""


def test_what_a_run_exports_is_printed_while_it_is_up(tmp_path: Path) -> None:
    here = copy_to(tmp_path)
    assert "no ./dev run is running" in dev(here, "env").stderr
    with exports_file("export BRIDGE_URL=http://127.0.0.1:1\n", here / ".dev"):
        # Runs that were killed have left these files behind.
        (here / ".dev" / "run-1.env").write_text("export BRIDGE_URL=http://127.0.0.1:2\n", encoding="utf-8")
        (here / ".dev" / "run-2.env").symlink_to("nowhere")
        done = dev(here, "env", BRIDGE_KEY="k")
        assert (done.returncode, done.stdout, done.stderr) == (0, "export BRIDGE_URL=http://127.0.0.1:1\n", "")
    done = dev(here, "env")
    assert (done.returncode, done.stdout) == (1, "")


def test_without_a_python_that_can_do_it_says_what_to_install(tmp_path: Path) -> None:
    done = dev(ROOT, "demo", PYTHON=str(tmp_path / "python3"))
    assert done.returncode == 1
    assert "no Python 3.11 or newer that can make a venv" in done.stderr
    assert "PYTHON=/path/to/python3" in done.stderr


def test_a_path_that_cannot_work_is_refused_with_the_way_out(tmp_path: Path) -> None:
    for name in ("a:b", "a$b"):
        done = dev(copy_to(tmp_path / name), "demo")
        assert (done.returncode, "must not contain : or $; move it" in done.stderr) == (1, True), done.stderr
    temporary = os.fsencode(tmp_path) + b"/\xff"
    Path(os.fsdecode(temporary)).mkdir()
    done = dev(copy_to(tmp_path / "checkout"), "demo", TMPDIR=os.fsdecode(temporary))
    assert (done.returncode, "set TMPDIR to another folder" in done.stderr) == (1, True), done.stderr


def test_ctrl_c_while_a_command_is_imported_ends_it_without_a_word(tmp_path: Path) -> None:
    (tmp_path / "interrupted.py").write_text("import os\nos.kill(os.getpid(), 2)\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", QUIETLY, "interrupted"], cwd=tmp_path, capture_output=True, encoding="utf-8", check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (-signal.SIGINT, "")


@pytest.mark.slow
def test_it_may_be_called_from_elsewhere_and_by_a_link(used_checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "dev").symlink_to(used_checkout / "dev")
    (tmp_path / "my.env").write_text("BRIDGE_LEASE_S=soon", encoding="utf-8")
    done = dev(tmp_path, "run", "--env-file", "my.env")
    assert f"{tmp_path}/my.env: BRIDGE_LEASE_S: " in done.stdout, done.stdout + done.stderr


@pytest.mark.slow
def test_a_trial_goes_on_when_more_cannot_be_installed(used_checkout: Path, tmp_path: Path) -> None:
    nothing = {"XDG_CACHE_HOME": str(tmp_path), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}
    done = dev(used_checkout, "check", **nothing)
    assert (done.returncode, "cannot download" in done.stderr) == (1, True), done.stderr
    assert "Making" not in is_whole(used_checkout, **nothing)


@pytest.mark.slow
def test_all_that_a_machine_may_have_at_once(tmp_path: Path, old_redis: Path, locales: str) -> None:
    checkout, temporary = copy_to(tmp_path / STRANGE), tmp_path / LONG / STRANGE
    temporary.mkdir(parents=True)
    before = f"umask 777; ulimit -n 256; export TZ=Asia/Kathmandu; PATH={shlex.quote(str(old_redis))}:$PATH"
    machine = {**FOREIGN_SETTINGS, **FOREIGN_PIP_SETTINGS, **NO_NETWORK, "LC_ALL": "zh_CN.GBK", "LOCPATH": locales}
    machine["PIP_CONFIG_FILE"] = pips_own_file(tmp_path)
    shown = demo(checkout, before=before, TMPDIR=str(temporary), **machine)
    assert "ignoring these variables of your shell: BRIDGE_LEASE_S, BRIDGE_REDIS_URL, BRIDGE_TENANTS_FILE\n" in shown
    assert re.search("starting +Valkey 9", shown)
    assert re.search(r"Unpacking \d+ packages, \d+ s\n", shown)
    assert list(temporary.iterdir()) == []


def pips_own_file(folder: Path) -> str:
    """A file that says of where to install what must not matter."""
    options = "user = true\ntarget = /nope\nprefix = /nope\nrequire-virtualenv = true\n"
    settings = f"[global]\nindex-url = {NOWHERE}\nquiet = 2\n{options}[install]\n{options}"
    (folder / "pip.conf").write_text(settings, encoding="utf-8")
    return str(folder / "pip.conf")


@pytest.mark.slow
@pytest.mark.one_by_one
def test_what_pips_own_files_say_of_where_to_install_does_not_matter(checkout: Path, tmp_path: Path) -> None:
    is_whole(checkout, PIP_CONFIG_FILE=pips_own_file(tmp_path))


@pytest.mark.slow
@pytest.mark.one_by_one
@pytest.mark.parametrize("name", [*FOREIGN_SETTINGS, *FOREIGN_PIP_SETTINGS])
def test_any_variable_does(checkout: Path, name: str) -> None:
    """In a new checkout, as pip's options only matter while packages are installed."""
    demo(checkout, **{name: {**FOREIGN_SETTINGS, **FOREIGN_PIP_SETTINGS}[name]})


@pytest.mark.slow
@pytest.mark.one_by_one
def test_any_redis_on_the_path_does(used_checkout: Path, old_redis: Path) -> None:
    demo(used_checkout, before=f"PATH={shlex.quote(str(old_redis))}:$PATH")


@pytest.mark.slow
@pytest.mark.one_by_one
@pytest.mark.parametrize("locale", ["zh_CN.GBK", "de_DE.ISO-8859-1", "C", "no_SUCH.locale"])
def test_any_locale_does(used_checkout: Path, locales: str, locale: str) -> None:
    demo(used_checkout, LC_ALL=locale, LOCPATH=locales)


@pytest.mark.slow
@pytest.mark.one_by_one
@pytest.mark.parametrize("name", [LONG, STRANGE])
def test_any_tmpdir_does(used_checkout: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    demo(used_checkout, TMPDIR=str(tmp_path / name))
    assert list((tmp_path / name).iterdir()) == []


@pytest.mark.slow
@pytest.mark.one_by_one
@pytest.mark.parametrize("name", [LONG, STRANGE])
def test_any_folder_does(tmp_path: Path, name: str) -> None:
    demo(copy_to(tmp_path / name))


@pytest.mark.slow
@pytest.mark.one_by_one
@pytest.mark.parametrize(
    "before", ["umask 077", "umask 777", "ulimit -n 256", "export TZ=Asia/Kathmandu", "unset HOME", "unset TERM"]
)
def test_any_shell_does(checkout: Path, before: str) -> None:
    demo(checkout, before=before, PIP_FIND_LINKS=str(wheels_folder()))


@pytest.mark.slow
def test_when_the_project_has_changed_its_packages_stay(used_checkout: Path) -> None:
    with (used_checkout / "pyproject.toml").open("a", encoding="utf-8") as project:
        project.write("# changed\n")
    shown = is_whole(used_checkout)
    assert "Installed" in shown
    assert "Making .venv" not in shown


@pytest.mark.slow
def test_a_folder_that_was_moved_is_made_whole(used_checkout: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(used_checkout, moved, symlinks=True)
    assert "Making .venv" in is_whole(moved)


@pytest.mark.slow
def test_once_it_has_run_a_checkout_may_be_read_only(used_checkout: Path) -> None:
    mount = f"mount --bind {shlex.quote(str(used_checkout))} . && mount -o remount,bind,ro . && cd ."
    inside = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        f"cd {shlex.quote(str(used_checkout))} && {mount} && ! touch new && ./dev demo",
    ]
    done = subprocess.run(
        inside,
        env={**os.environ, **HERE},  # noqa: TID251 - passed on
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        tools.cannot(f"needs root and namespaces: {done.stderr}")
    assert (done.returncode, DONE in done.stdout) == (0, True), done.stdout + done.stderr
