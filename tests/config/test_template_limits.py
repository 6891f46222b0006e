"""Templates that loop for ever or fill the memory, over what a tenant sends."""

import os
import resource
import signal
import threading
from contextlib import suppress
from pathlib import Path
from time import monotonic

import pytest

from app.config import template_process, template_renderer
from app.config.templates import read_templates
from app.domain.errors import OperatorError, Unavailable, Unrenderable
from app.formats.format import Format, MessageOptions
from app.formats.samples import AT, SUCCEEDED, sample

OPTIONS = MessageOptions("https://receiver.example/hook")
HARMLESS = {"n": 1, "s": "x", "l": [1]}
HOSTILE = {"n": 10**9, "s": "x" * 3000, "l": list(range(300))}
LONGEST_S = 5.0  # for 0.5 s of CPU time, on a machine that runs other tests, too
MIB = 1024 * 1024
TIME = "takes more than 0.5 s of CPU time"
MEMORY = "needs more than 32 MiB of memory"
OUTPUT = "gives more than 1 MiB"

ENDLESS = "{% for i in m.l %}" * 4 + "{% endfor %}" * 4 + "1"
# With HARMLESS each gives JSON, so that the template can be read.
WORST = {
    ENDLESS: TIME,
    "{% macro f(n) %}{% if n > 1 %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f([m.n, 60]|min) }}1": TIME,
    "{{ (7 ** m.n) % 2 }}": TIME,
    "{{ lipsum(m.n) | length }}": TIME,
    "{{ [1] | slice(m.n) | list | length }}": "more than",
    "{{ (m.s * 100) | wordwrap(1) | length }}": TIME,
    "{{ (m.s * m.n) | length }}": MEMORY,
    "{{ 'x' | center(m.n) | length }}": MEMORY,
    "{{ 'x'.ljust(m.n) | length }}": MEMORY,
    "{{ ('%' ~ m.n ~ 'd') % 1 }}": MEMORY,
    "{{ ('{:' ~ m.n ~ '}').format(1) }}": MEMORY,
    "{{ [1] | batch(m.n, 0) | list | length }}": MEMORY,
    "{{ m | tojson(indent=m.n) }}": MEMORY,
    "{{ m.s | replace('x', m.s) | replace('x', m.s) | length }}": MEMORY,
    "{{ (1).to_bytes(m.n, 'big') | length }}": MEMORY,
    "{{ m.l | map('string') | map('center', m.n // 100) | list | length }}": MEMORY,
    "{{ ([m.l] * (m.n // 10)) | length }}": MEMORY,
    "{% set ns = namespace(s='xx') %}{% for i in m.l %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}1": MEMORY,
    "{% set ns = namespace(s=[1]) %}{% for i in m.l %}{% set ns.s = ns.s + ns.s %}{% endfor %}1": MEMORY,
    '"{% for i in m.l %}{% for j in [1, 2] %}{{ m.s }}{% endfor %}{% endfor %}"': OUTPUT,
    "{% macro f(n) %}{% if n > 1 %}{{ f(n) }}{% endif %}{% endmacro %}{{ f(m.n) }}1": "RecursionError",
    "{% for x in m.l recursive %}{% if m.n > 1 %}{{ loop(m.l) }}{% endif %}{% endfor %}1": "RecursionError",
    "{{ '[' * (m.n // 1000) }}1": "recursion",
}


def compile_template(folder: Path, source: str) -> Format:
    start = "{% set m = event.data.metadata if event.data.metadata.n is defined else " + str(HARMLESS) + " %}"
    (folder / "mine.json.j2").write_text(start + source, encoding="utf-8")
    return read_templates(folder)["mine"]


def render(made: Format, metadata: dict[str, object]) -> bytes:
    return made.render([sample(SUCCEEDED, **metadata)], OPTIONS, AT).body


@pytest.mark.parametrize(("source", "reason"), WORST.items())
def test_the_worst_templates_end_within_seconds_and_say_which_limit(tmp_path: Path, source: str, reason: str) -> None:
    made = compile_template(tmp_path, source)
    assert render(made, HARMLESS)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, monotonic()
    with pytest.raises(Unrenderable) as raised:
        render(made, HOSTILE)
    assert str(raised.value).startswith("template mine, for job.succeeded")
    assert reason in str(raised.value)
    assert monotonic() - start < LONGEST_S
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 16 * MIB
    assert render(made, HARMLESS)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}1", TIME),
        ("{{ (7 ** 1000000000) % 2 }}", TIME),  # evaluated when it is compiled
        ("{{ ('x' * 10 ** 9) | length }}", MEMORY),
        ('"{{ "x" * 2000000 }}"', OUTPUT),
    ],
)
def test_a_template_that_exceeds_a_limit_by_itself_is_refused_when_it_is_read(
    tmp_path: Path, source: str, reason: str
) -> None:
    with pytest.raises(OperatorError, match=f"mine.json.j2: template mine, for job.succeeded: {reason}"):
        compile_template(tmp_path, source)


def test_the_kernel_bounds_the_memory_of_the_process_that_renders(tmp_path: Path) -> None:
    assert render(compile_template(tmp_path, "{{ m.n }}"), HARMLESS) == b"1"
    renders = [pid for pid in rendering_processes() if parent(parent(pid)) == os.getpid()]
    assert renders
    for pid in renders:
        assert resource.prlimit(pid, resource.RLIMIT_AS)[1] < 96 * MIB


def test_others_are_rendered_while_many_threads_loop(tmp_path: Path) -> None:
    made = compile_template(tmp_path, ENDLESS)

    def loop() -> None:
        with pytest.raises((Unrenderable, Unavailable)):
            render(made, HOSTILE)

    threads = [threading.Thread(target=loop) for _ in range(16)]
    for thread in threads:
        thread.start()
    longest, count = 0.0, 0
    while any(thread.is_alive() for thread in threads):
        start = monotonic()
        assert render(made, HARMLESS) == b"1"
        longest, count = max(longest, monotonic() - start), count + 1
    assert count > 10
    assert longest < LONGEST_S


def test_a_process_that_was_killed_is_replaced(tmp_path: Path) -> None:
    made = compile_template(tmp_path, "{{ m.n }}")
    for pid in rendering_processes():
        if parent(pid) == os.getpid():
            os.killpg(pid, signal.SIGKILL)
    # Each of them is missed once.
    for _ in range(template_renderer.QUICK_AT_ONCE + template_renderer.SLOW_AT_ONCE):
        with suppress(Unavailable):
            render(made, {"n": 5})
    assert render(made, {"n": 6}) == b"6"


def test_a_forked_process_renders_with_a_process_of_its_own(tmp_path: Path) -> None:
    made = compile_template(tmp_path, "{{ m.n }}")
    assert render(made, {"n": 7}) == b"7"
    child = os.fork()
    if not child:
        ok = all(render(made, {"n": n}) == str(n).encode() for n in range(200))
        os._exit(0 if ok else 1)
    assert all(render(made, {"n": n}) == str(n).encode() for n in range(1000, 1200))
    assert os.waitpid(child, 0)[1] == 0


def rendering_processes() -> list[int]:
    """Those with a supervisor, and the supervisors, of all processes of this machine."""
    return [int(file.parent.name) for file in Path("/proc").glob("[0-9]*/cmdline") if is_ours(file)]


def is_ours(file: Path) -> bool:
    try:
        return template_process.__name__.encode() in file.read_bytes().split(b"\0")
    except OSError:  # it has ended
        return False


def parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
    except OSError:
        return 0
