"""Renders templates in a process of its own, which the kernel ends if a template takes too much time or memory.

Started by `template_renderer.py`. Standard input is a socket for both directions. A supervisor forks the process that
renders, and forks it again whenever that has ended. A message is its length (4 bytes), then the content.

request: JSON with source, variables and cpu_s (the limit, in seconds of CPU time; compiling has its own).
answer: one byte (OK, FAILED or a limit), then the rendered JSON or, for FAILED, the reason.
"""

import contextlib
import json
import mmap
import os
import resource
import signal
import socket
import sys
from functools import lru_cache, partial
from pathlib import Path
from traceback import walk_tb
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from app.domain.wire import to_json

OK, FAILED = b"+", b"-"
TOO_SLOW, TOO_MUCH_MEMORY, TOO_LONG = b"t", b"m", b"l"
LENGTH_BYTES = 4
MEMORY_BYTES = 32 * 1024 * 1024  # beyond what the process has when it starts
OUTPUT_BYTES = 1024 * 1024
COMPILE_S = 0.5  # of CPU time
CACHE_SIZE = 64
RENDERS = 10_000  # then a new process takes over: memory that a process keeps does not add up
RETIRED, OUT_OF_MEMORY = 3, 4  # exit codes of the process that renders


def main() -> None:
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF})
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    connection = socket.socket(fileno=sys.stdin.fileno())
    busy = mmap.mmap(-1, 1)  # shared: 1 while a request is being rendered
    while True:
        child = os.fork()
        if not child:
            _run(connection, busy)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code == os.EX_OK:
            return
        if busy[0]:
            busy[0] = 0
            send(connection, TOO_SLOW if code == -signal.SIGPROF else TOO_MUCH_MEMORY)


def _run(connection: socket.socket, busy: mmap.mmap) -> None:
    """Renders until the other end closes, then exits with EX_OK."""
    code = OUT_OF_MEMORY
    try:
        _limit_memory()
        code = _serve(connection, busy)
    finally:
        os._exit(code)


def _serve(connection: socket.socket, busy: mmap.mmap) -> int:
    for _ in range(RENDERS):
        try:
            request = receive(connection)
        except (EOFError, OSError):
            return os.EX_OK
        busy[0] = 1
        answer = _answer(json.loads(request))
        _limit_time(0)
        busy[0] = 0
        send(connection, answer)
        if answer == TOO_MUCH_MEMORY:
            break
    return RETIRED


def _answer(request: dict[str, Any]) -> bytes:
    try:
        body = _render(request)
    except MemoryError:
        return TOO_MUCH_MEMORY
    except ValueError as error:
        return FAILED + str(error).encode()
    return OK + body if len(body) <= OUTPUT_BYTES else TOO_LONG


def _render(request: dict[str, Any]) -> bytes:
    """Raises ValueError with line and reason, without a word of the event."""
    _limit_time(COMPILE_S)
    try:
        template = _compile(request["source"])
    except TemplateSyntaxError as error:
        raise ValueError(f", line {error.lineno}: {error.message}") from None
    _limit_time(request["cpu_s"])
    try:
        text = template.render(request["variables"])
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - an operator's expression may raise anything
        raise ValueError(f", line {_line(error, template)}: {_reason(error)}") from None
    try:
        return to_json(json.loads(text, parse_constant=_reject_constant)).encode()
    except json.JSONDecodeError as error:
        raise ValueError(f": gives no JSON: {error.msg} in line {error.lineno} of its output") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f": gives no JSON: {error}") from None


# Compiling evaluates constant expressions such as `"x" * 10 ** 9`, so it is limited, too.
@lru_cache(maxsize=CACHE_SIZE)
def _compile(source: str) -> Template:
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
    environment.filters["tojson"] = partial(json.dumps, default=_not_json)
    return environment.from_string(source)


def _not_json(value: Any) -> str:
    """Raises TypeError. For an undefined value, `str` itself raises an error that names it."""
    raise TypeError(str(value))


def _line(error: BaseException, template: Template) -> int:
    """Returns the line in the template: Jinja rewrites tracebacks to its lines."""
    lines = [line for frame, line in walk_tb(error.__traceback__) if frame.f_code.co_filename == template.filename]
    return lines[-1] if lines else 0


def _reason(error: Exception) -> str:
    """Returns Jinja's message; of other exceptions only the type, as their messages may quote an event."""
    return str(error.message) if isinstance(error, TemplateError) else type(error).__name__


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not allowed")


def _limit_time(cpu_s: float) -> None:
    """Has the kernel end this process after so much more CPU time, whatever it is doing. 0: no limit."""
    signal.setitimer(signal.ITIMER_PROF, cpu_s)


def _limit_memory() -> None:
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * resource.getpagesize() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def send(connection: socket.socket, content: bytes) -> None:
    connection.sendall(len(content).to_bytes(LENGTH_BYTES, "big") + content)


def receive(connection: socket.socket) -> bytes:
    """Raises EOFError if the other end has closed."""
    return _read(connection, int.from_bytes(_read(connection, LENGTH_BYTES), "big"))


def _read(connection: socket.socket, count: int) -> bytes:
    content = bytearray()
    while len(content) < count:
        part = connection.recv(count - len(content))
        if not part:
            raise EOFError
        content += part
    return bytes(content)


if __name__ == "__main__":
    # Nobody reads what it prints.
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        main()
