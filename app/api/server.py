"""Runs the API under gunicorn, with the reasons for its options."""

import os
import resource
import signal
import socket
import tempfile
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped] # gunicorn has none
from gunicorn.arbiter import Arbiter  # type: ignore[import-untyped] # as above
from gunicorn.glogging import Logger  # type: ignore[import-untyped] # as above

from app import logs
from app.api.app import create_app
from app.api.worker import Worker
from app.bootstrap.runtime import Runtime
from app.config.settings import Settings
from app.observability import counters_folder, listening, metric_registry, probe_server
from app.observability.exposition import METRICS, metrics_page

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 gunicorn creates its own file there, and unlinks it at once
# Longer than the 60 s for which an ingress keeps connections: the API must not be the first to close.
KEEP_ALIVE = timedelta(seconds=75)
# Added to the longest wait of a request: a cancellation waits for a running attempt.
GRACE = timedelta(seconds=5)
MAX_CONNECTIONS = 1_000  # of a process; gunicorn's default


class Server(BaseApplication):  # type: ignore[misc] # its base is untyped
    """Each worker process builds its own runtime, because a Redis connection does not survive a fork."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._worker: Any = None
        self._api_socket = _listen(settings.api_bind)
        self._probe_socket = listening.listen("BRIDGE_PROBE_BIND", settings.probe_bind)
        bind = settings.metrics_bind
        self._metrics_socket = listening.listen("BRIDGE_METRICS_BIND", bind) if bind else None
        self._counters = counters_folder.create(_memory())
        metric_registry.share(self._counters.path)
        super().__init__()

    def run(self) -> None:
        Master(self).run()

    def load_config(self) -> None:
        for name, value in self._options().items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        self._runtime = Runtime(self._settings, shared_counts=self._counters.path)
        return create_app(self._runtime, self._stopping)

    def _options(self) -> dict[str, Any]:
        settings = self._settings
        options = {
            # gunicorn would retry for seconds, and print its own words, where this socket cannot be had.
            "bind": f"fd://{self._api_socket.detach()}",
            "workers": settings.api_workers,
            "worker_class": Worker,
            "worker_connections": _max_connections(),
            "threads": settings.api_threads + settings.api_streams,
            "keepalive": int(KEEP_ALIVE.total_seconds()),
            "graceful_timeout": int(settings.attempt_deadline_s + GRACE.total_seconds()),
            "limit_request_line": 4094,
            "limit_request_fields": 64,
            "limit_request_field_size": 8190,
            # By default gunicorn lets loopback set these, and so the path. ProxyFix alone reads a proxy's headers.
            "forwarded_allow_ips": "",
            "forwarder_headers": "",
            "secure_scheme_headers": {},
            "control_socket_disable": True,
            "logger_class": JsonLog,
            "when_ready": self._announce,
            "post_worker_init": self._on_worker_start,
            "post_fork": lambda _arbiter, _worker: os.close(self._counters.lock),
            "on_exit": lambda _: self._counters.remove(),
        }
        # gunicorn's heartbeat is a file: on disk it can stall, and the root file system may be read-only.
        return options | ({"worker_tmp_dir": str(SHARED_MEMORY)} if SHARED_MEMORY.is_dir() else {})

    def _announce(self, arbiter: Any) -> None:
        addresses = [str(listener) for listener in arbiter.LISTENERS]
        metrics = self._metrics_socket or self._probe_socket
        logs.event(
            "api.listening",
            addresses=addresses,
            probes=listening.url_of(self._probe_socket),
            metrics=f"{listening.url_of(metrics)}{METRICS}",
        )

    def _stopping(self) -> bool:
        return self._worker is not None and not self._worker.alive

    def _on_worker_start(self, worker: Any) -> None:
        self._worker = worker
        signal.signal(signal.SIGHUP, lambda *_: self._runtime.reload())
        metrics = {METRICS: partial(metrics_page, self._runtime.metrics)}
        pages = probe_server.probes(self._runtime.stores.readiness.check)
        if self._metrics_socket:
            probe_server.ProbeServer(self._metrics_socket, metrics).start()
        else:
            pages = {**pages, **metrics}
        probe_server.ProbeServer(self._probe_socket, pages).start()


class Master(Arbiter):  # type: ignore[misc] # as above
    """On SIGHUP, workers re-read their files. gunicorn's own starts them anew, one after the other: that takes a second
    for each signal, and one that finds a broken file has no last good value."""

    def handle_hup(self) -> None:
        self.kill_workers(signal.SIGHUP)


def _max_connections() -> int:
    """Half of the files that a process may open, and MAX_CONNECTIONS at most: gunicorn's worker ends when a connection
    finds none left, and Redis and the rest need some too."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if files == resource.RLIM_INFINITY else min(MAX_CONNECTIONS, files // 2)


def _listen(bind: str) -> socket.socket:
    """bind: host:port, `unix:` and a path, or `fd://` and the number of a socket that this process was given."""
    setting = "BRIDGE_API_BIND"
    if bind.startswith("fd://"):
        return listening.inherited(setting, bind.removeprefix("fd://"))
    if bind.startswith("unix:"):
        return listening.listen_on_unix_socket(setting, Path(bind.removeprefix("unix:").removeprefix("//")))
    return listening.listen(setting, bind)


def _memory() -> Path:
    """A disk may stall or be read-only."""
    return SHARED_MEMORY if SHARED_MEMORY.is_dir() else Path(tempfile.gettempdir())


class JsonLog(Logger):  # type: ignore[misc] # as above
    """Sends gunicorn's log to the process's JSON log, from WARNING up."""

    def setup(self, cfg: Any) -> None:  # noqa: ARG002 gunicorn's signature
        self.error_log.propagate = True
