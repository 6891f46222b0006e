"""JSON logs on stderr: one line an event, flat fields, always with ids; never a secret, a body or a URL's path."""

import atexit
import io
import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from logging.handlers import QueueHandler
from queue import SimpleQueue
from select import select
from time import monotonic
from types import TracebackType
from typing import Any, ClassVar

_to_json = json.JSONEncoder(ensure_ascii=False, default=str).encode

# JSON does not require escaping these. Some log readers treat them as line ends; some move a terminal's cursor.
LINE_ENDS = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029)}

STDERR = 2
LONGEST_QUEUE = 10_000  # lines, some 3 MB, while nobody reads stderr; later ones are dropped
END_S = 2.0  # how long the end of a process waits for its last lines
TELL_EVERY_S = 1.0  # between two lines about dropped ones

bridge = logging.getLogger("bridge")


def event(name: str, *, level: int = logging.INFO, exc_info: bool = False, **fields: Any) -> None:
    """Logs an event: `event("delivery.dead", delivery_id=…)`. Names are `noun.what_happened`."""
    bridge.log(level, name, exc_info=exc_info, extra={"fields": fields})


class JsonLines(logging.Formatter):
    """Formats `{"time", "level", "event", …}`. Records of libraries have `event: "log"` and their text in `message`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
        }
        if record.name == bridge.name:
            line |= {"event": record.getMessage(), **getattr(record, "fields", {})}
        else:
            line |= {"event": "log", "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        text = _to_json(line)
        return text if text.isascii() and "\x7f" not in text else text.translate(LINE_ENDS)


class QueuedLines(QueueHandler):
    """Writes lines to stderr on a thread of its own, so that logging blocks nobody when nobody reads stderr.

    Lines beyond LONGEST_QUEUE are dropped. A line says how many, as soon as stderr is read again.
    """

    # QueueHandler is for queues with a lock. That of SimpleQueue is safe in a signal handler.
    queue: SimpleQueue[str | threading.Event]
    on_drop: ClassVar[Callable[[], None]] = staticmethod(lambda: None)  # counts a dropped line

    def __init__(self) -> None:
        super().__init__(SimpleQueue())
        self.setFormatter(JsonLines())
        self._start()
        os.register_at_fork(after_in_child=self._start)  # threads do not survive a fork; the parent writes its lines
        atexit.register(self.drain, END_S)

    def prepare(self, record: logging.LogRecord) -> str:
        return self.format(record)

    def enqueue(self, line: str) -> None:  # type: ignore[override] # what `prepare` returns
        if self.queue.qsize() < LONGEST_QUEUE:
            self.queue.put(line)
        else:
            self._drop()

    def drain(self, timeout_s: float) -> None:
        """Waits until the lines so far are written, at most `timeout_s`."""
        written = threading.Event()
        self.queue.put(written)
        written.wait(timeout_s)

    def _start(self) -> None:
        self.queue = SimpleQueue()
        self._dropped = 0
        threading.Thread(target=self._write_all, args=[self.queue], name="log", daemon=True).start()

    def _write_all(self, lines: SimpleQueue[str | threading.Event]) -> None:
        told, told_at = 0, monotonic()
        while True:
            line = lines.get()
            if isinstance(line, str):
                self._write(line)
            if told != self._dropped and (lines.empty() or monotonic() > told_at + TELL_EVERY_S):
                count, told, told_at = self._dropped - told, self._dropped, monotonic()
                self._write(self.format(_record("log.lines_dropped", logging.ERROR, {"count": count})))
            if isinstance(line, threading.Event):
                line.set()

    def _write(self, line: str) -> None:
        left = f"{line}\n".encode(errors="backslashreplace")
        while left:
            try:
                left = left[os.write(STDERR, left) :]
            except BlockingIOError:
                select([], [STDERR], [])
            except OSError:  # the reader has gone, or the disk is full
                self._drop()
                return

    def _drop(self) -> None:
        self._dropped += 1
        type(self).on_drop()


@cache
def _lines() -> QueuedLines:
    return QueuedLines()


def on_drop(count: Callable[[], None]) -> None:
    """Calls `count` for each line that is dropped from now on."""
    QueuedLines.on_drop = staticmethod(count)


def drain() -> None:
    """Waits until stderr has all lines so far, at most END_S: for a process that is about to end itself."""
    _lines().drain(END_S)


def _record(name: str, level: int, fields: dict[str, Any]) -> logging.LogRecord:
    return bridge.makeRecord(bridge.name, level, "", 0, name, (), None, extra={"fields": fields})


def _log_uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    """Logs what would end a process or a thread with a traceback on stderr."""
    if error and not issubclass(kind, SystemExit | KeyboardInterrupt):
        bridge.critical("process.failed", exc_info=(kind, error, trace))


def configure(level: str) -> None:
    """Logs everything to stderr as JSON lines. level: of the bridge's own events; libraries log from WARNING up."""
    # No line shows its caller; finding the caller costs more than writing the line (docs.python.org, Logging HOWTO).
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(encoding="utf-8", errors="backslashreplace")  # in any locale
    logging.basicConfig(level=logging.WARNING, handlers=[_lines()], force=True)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda failed: _log_uncaught(failed.exc_type, failed.exc_value, failed.exc_traceback)
    bridge.setLevel(level)
