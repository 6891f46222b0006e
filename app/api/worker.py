"""gunicorn's worker process with threads, in which a client occupies none while it sends a request's head.

gunicorn's own reads a request's head in a thread, however long it takes, and waits for a client's end in its main loop.
Here the main loop reads heads, and a thread begins with a complete one.
"""

import selectors
import signal
import socket
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from time import monotonic
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker  # type: ignore[import-untyped] # gunicorn has none
from werkzeug.exceptions import RequestTimeout

HEAD_END = b"\r\n\r\n"
MAX_HEAD_BYTES = 32 * 1024  # a longer head closes the connection
# For a head, and after a last answer, for the client's end. The same for both: gunicorn expires them in order.
HEAD_TIMEOUT_S = 10.0
BODY_TIMEOUT_S = 10.0
SEND_TIMEOUT_S = 10.0  # of an answer; of a stream, for one event


class Worker(ThreadWorker):  # type: ignore[misc] # its base is untyped
    def init_signals(self) -> None:
        super().init_signals()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it has something to re-read

    def murder_pending(self) -> None:
        """Closes connections whose time is up, and makes room for the next: closes those that have waited longest for a
        head.

        gunicorn calls it after it has handled a batch of events: a closed connection must not have one in that batch.
        """
        super().murder_pending()
        while self.nr_conns >= self.worker_connections and (waiting := self.pending_conns or self.keepalived_conns):
            waiting[0].timeout = 0.0
            super().murder_pending()
            self.murder_keepalived()

    def enqueue_req(self, conn: TConn) -> None:
        """Gives the connection to a thread once it has sent a head. It is new, was kept alive, or has pipelined."""
        if not conn.initialized:
            conn.init()
            conn.parser.unreader.sock = _TimedSocket(conn.sock)
        conn.sock.setblocking(False)
        if _head_has_arrived(conn):
            super().enqueue_req(conn)
        else:
            self._wait(conn, self.on_pending_socket_readable)

    def on_pending_socket_readable(self, conn: TConn, client: socket.socket) -> None:
        if _head_has_arrived(conn):
            super().on_pending_socket_readable(conn, client)

    def handle(self, conn: TConn) -> bool:
        """Runs in a thread. Returns whether the connection stays open."""
        timed: _TimedSocket = conn.parser.unreader.sock
        timed.until = monotonic() + BODY_TIMEOUT_S
        return bool(super().handle(conn)) and not timed.ended

    def handle_request(self, req: Any, conn: TConn) -> bool:
        timed: _TimedSocket = conn.parser.unreader.sock
        conn.sock.settimeout(SEND_TIMEOUT_S)
        timed.in_request = True
        try:
            return bool(super().handle_request(req, conn))
        except TimeoutError:  # the client does not read the answer
            return False
        finally:
            timed.in_request = False
            timed.until = 0.0  # of an unread body, only what has arrived is discarded

    def finish_request(self, conn: TConn, fs: "Future[bool]") -> None:
        if not fs.cancelled() and fs.result():
            super().finish_request(conn, fs)
            return
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:  # the client has gone
            self.nr_conns -= 1
            conn.close()
        else:  # until the client has read the answer: closing earlier might discard it (RFC 9112, 9.6)
            self._wait(conn, self._discard)

    def _wait(self, conn: TConn, callback: Callable[[TConn, socket.socket], None]) -> None:
        """Waits for data without a thread. gunicorn closes connections whose `timeout` has passed."""
        conn.sock.setblocking(False)
        conn.timeout = monotonic() + HEAD_TIMEOUT_S
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(callback, conn))

    def _discard(self, conn: TConn, client: socket.socket) -> None:
        if _received(client) == b"":
            self.poller.unregister(client)
            self.pending_conns.remove(conn)
            self.nr_conns -= 1
            conn.close()


class _TimedSocket:
    """A socket as gunicorn's parser reads it: at its end as soon as `until` has passed and nothing more has arrived.

    in_request: while the application reads the body, it raises RequestTimeout (408) instead.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.until = 0.0
        self.ended = self.in_request = False

    def recv(self, size: int) -> bytes:
        before = self._sock.gettimeout()
        self._sock.settimeout(max(0.0, self.until - monotonic()))
        try:
            return self._sock.recv(size)
        except (TimeoutError, BlockingIOError):
            self.ended = True
            if self.in_request:
                raise RequestTimeout(f"The body did not come within {BODY_TIMEOUT_S:.0f} s.") from None
            return b""
        finally:
            self._sock.settimeout(before)


def _head_has_arrived(conn: TConn) -> bool:
    """Reads what has arrived. True also for a connection that has ended or sends too much: its thread closes it."""
    unreader = conn.parser.unreader
    head: bytes = unreader.take_buffered()
    received: bytes | None = None
    if HEAD_END not in head:
        received = _received(conn.sock)
        head += received or b""
    unreader.unread(head)
    return received == b"" or HEAD_END in head or len(head) > MAX_HEAD_BYTES


def _received(client: socket.socket) -> bytes | None:
    """Returns what has arrived on a socket that does not block; None for nothing yet, b"" at its end."""
    try:
        return client.recv(MAX_HEAD_BYTES)
    except BlockingIOError:
        return None
    except OSError:
        return b""
