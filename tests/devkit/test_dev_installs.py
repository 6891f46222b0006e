"""`./dev` when an installation goes wrong: it reports the error, tries again, and the next installation is complete."""

import itertools
import os
import re
import shlex
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from app.devkit.install import wheels_folder
from app.devkit.machine import cache_folder
from app.devkit.processes import Process, start, wait_until
from tests.support import tools
from tests.support.checkouts import HERE, copy_to, dev, is_whole

CUT_PROJECT = "rq-"


def project_of(wheel: Path) -> str:
    return re.split("-[0-9]", wheel.name)[0].replace("_", "-").lower()


class Index:
    """A package index on loopback that serves the wheels which ./dev has downloaded.

    The next `truncations` downloads of CUT_PROJECT break off in the middle.
    It does not answer while `answers` is cleared.
    """

    def __init__(self) -> None:
        self.truncations = 0
        self.answers = threading.Event()
        self.answers.set()
        self.sent: list[str] = []
        index = self

        class IndexHandler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.answers.wait()
                _, folder, name, *_ = self.path.split("/")
                index._page(self, name) if folder == "simple" else index._file(self, name)

            def log_message(self, *_: object) -> None:
                """Logs nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), IndexHandler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/simple"

    def __enter__(self) -> "Index":
        threading.Thread(target=self._server.serve_forever).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.answers.set()
        self._server.shutdown()
        self._server.server_close()

    def _page(self, request: BaseHTTPRequestHandler, project: str) -> None:
        files = [file for file in wheels_folder().iterdir() if project_of(file) == project]
        hashes = [sha256(file.read_bytes()).hexdigest() for file in files]
        links = [f'<a href="/files/{f.name}#sha256={h}">{f.name}</a>' for f, h in zip(files, hashes, strict=True)]
        self._answer(request, "text/html", "".join(links).encode())

    def _file(self, request: BaseHTTPRequestHandler, name: str) -> None:
        body = (wheels_folder() / name).read_bytes()
        self.sent.append(name)
        if name.startswith(CUT_PROJECT) and self.truncations:
            self.truncations -= 1
            self._answer(request, "application/octet-stream", body, len(body) // 2)
        else:
            self._answer(request, "application/octet-stream", body)

    def _answer(self, request: BaseHTTPRequestHandler, media_type: str, body: bytes, until: int | None = None) -> None:
        request.send_response(200)
        request.send_header("Content-Type", media_type)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[:until])


@pytest.fixture
def index() -> Iterator[Index]:
    with Index() as index:
        yield index


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return copy_to(tmp_path / "checkout")


@pytest.fixture
def fresh_environment(index: Index, tmp_path: Path) -> dict[str, str]:
    """The environment of a user who has downloaded nothing yet."""
    packages = {"PIP_NO_INDEX": "", "PIP_INDEX_URL": index.url, "PIP_FIND_LINKS": ""}
    return {"XDG_CACHE_HOME": str(tmp_path / "cache"), **packages}


def wait_for_exit(process: Process) -> int:
    wait_until(lambda: process.exit_code is not None, timeout=240, what="its end")
    return process.kill()


@pytest.mark.slow
def test_a_download_that_breaks_off_is_tried_again_twice_then_it_is_named_and_the_rest_is_kept(
    checkout: Path, index: Index, fresh_environment: dict[str, str]
) -> None:
    wheels = Path(fresh_environment["XDG_CACHE_HOME"]) / wheels_folder().relative_to(cache_folder().parent)
    young, old = wheels.parent / "part-young", wheels.parent / "part-old"
    for folder in (wheels / "folder", young, old / "files"):  # no packages: left by others
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))
    index.truncations = 1_000_000
    done = dev(checkout, "demo", **fresh_environment)
    assert (young.exists(), old.exists()) == (True, False)
    assert done.returncode == 1
    assert re.search(r"^./dev: cannot download: rq==\S+: .+\n.*PIP_INDEX_URL.* packages are kept", done.stderr)
    assert index.sent.count(next(name for name in index.sent if name.startswith(CUT_PROJECT))) == 3
    index.truncations, before, index.sent = 2, set(index.sent), []
    shown = is_whole(checkout, **fresh_environment)
    assert len(re.findall(r"^  rq==\S+: .*; trying again$", shown, re.MULTILINE)) == 2
    again = before & set(index.sent)
    assert len(again) <= 8, "only those that were asked for together with it"


@pytest.mark.slow
def test_ctrl_c_before_another_try_is_the_end(
    checkout: Path, index: Index, fresh_environment: dict[str, str], tmp_path: Path
) -> None:
    index.truncations = 1_000_000
    (tmp_path / "t").mkdir()
    environment = HERE | fresh_environment | {"TMPDIR": str(tmp_path / "t")}
    with start(["sh", "-c", f"cd {shlex.quote(str(checkout))} && exec ./dev demo"], environment) as process:
        wait_until(lambda: [line for line in process.lines if "trying again" in line], what="a failed try")
        index.answers.clear()
        os.killpg(process.pid, signal.SIGINT)
        assert wait_for_exit(process) == 130
    assert list((tmp_path / "t").iterdir()) == []


NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
MOMENTS = ("Making", "Downloading", "Unpacking")
IN_CI = (("Downloading", signal.SIGTERM), ("Unpacking", signal.SIGKILL))


def moments() -> Iterator[ParameterSet]:
    """Each moment with each signal."""
    for moment, number in itertools.product(MOMENTS, NUMBERS):
        marks = () if (moment, number) in IN_CI else (pytest.mark.one_by_one,)
        yield pytest.param(moment, number, marks=marks)


@pytest.mark.slow
@pytest.mark.parametrize(("moment", "number"), list(moments()))
def test_after_an_end_in_the_middle_the_next_one_is_whole(
    checkout: Path, fresh_environment: dict[str, str], moment: str, number: signal.Signals
) -> None:
    environment = HERE | (fresh_environment if moment == "Downloading" else {})
    with start(["sh", "-c", f"cd {shlex.quote(str(checkout))} && exec ./dev run"], environment) as process:
        wait_until(lambda: [line for line in process.lines if line.startswith(moment)], timeout=120, what=moment)
        # A terminal sends Ctrl-C to the whole group of processes; a supervisor signals only one.
        (os.killpg if number is signal.SIGINT else os.kill)(process.pid, number)
        wait_until(lambda: process.exit_code is not None, what="its end")
        assert process.exit_code == {signal.SIGKILL: -9}.get(number, 130)
    is_whole(checkout, **(fresh_environment if moment == "Downloading" else {}))


@pytest.mark.slow
def test_several_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    folders = [*[copy_to(tmp_path / "one")] * 3, copy_to(tmp_path / "other")]
    with ExitStack() as stack:
        commands = [f"cd {shlex.quote(str(folder))} && exec ./dev run --help" for folder in folders]
        runs = [stack.enter_context(start(["sh", "-c", command], HERE)) for command in commands]
        assert [wait_for_exit(each) for each in runs] == [0] * 4
    shown = ["\n".join(each.lines) for each in runs]
    assert all("--env-file" in text for text in shown)
    assert sum("Making .venv" in text for text in shown) == 2


@pytest.mark.slow
def test_a_full_disk_is_reported_and_with_room_the_next_one_is_whole(tmp_path: Path) -> None:
    folder = shlex.quote(str(copy_to(tmp_path / "original")))
    disk = shlex.quote(str(tmp_path / "disk"))
    (tmp_path / "disk").mkdir()
    script = f"""
        mount -t tmpfs -o size=40m none {disk} && cp -r {folder}/. {disk} && cd {disk} || exit 99
        ./dev run --help && exit 98
        mount -o remount,size=400m {disk} && cd {disk} && exec ./dev run --help
    """
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        env={**os.environ, **HERE},  # noqa: TID251 - passed on
        capture_output=True,
        encoding="utf-8",
        timeout=240,
        check=False,
    )
    if done.returncode == 99 or "unshare" in done.stderr:
        tools.cannot(f"needs root and namespaces: {done.stderr}")
    assert "./dev: the disk is full: " in done.stderr
    assert (done.returncode, "--env-file" in done.stdout) == (0, True), done.stdout + done.stderr
