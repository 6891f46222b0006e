"""A network in which every address is this machine, a name server, and a canary that records the reached addresses.

It needs network and mount namespaces of its own, which test_lab.py creates.
"""

import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from itertools import count
from pathlib import Path

from tests.support.ssrf_corpus import DNS

ROUTES = (
    "ip link set lo up",
    "ip route add local default dev lo",
    "ip -6 route add local default dev lo",
    # One of the two addresses of dual.test is unreachable.
    "ip -6 route add unreachable 2606:2800:220:1:248:1893:25c8:1946 dev lo table local",
)
TYPES = {"A": 1, "CNAME": 5, "AAAA": 28}
NXDOMAIN = 3
TLS_HANDSHAKE = b"\x16"


def set_up_network(folder: Path) -> None:
    """Adds the routes, and makes NameServer the only resolver."""
    for command in ROUTES:
        subprocess.run(command.split(), check=True)
    for name, text in (("resolv.conf", "nameserver 127.0.0.1\n"), ("nsswitch.conf", "hosts: dns\n")):
        (folder / name).write_text(text, encoding="utf-8")
        subprocess.run(["mount", "--bind", folder / name, Path("/etc", name).resolve()], check=True)


class NameServer:
    """Serves the zone of the corpus over UDP.

    Queries for `slowdns.test` get no answer. Every other answer for `rebind.test` is an internal address.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 53))
        self._rebinds = count()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            query, client = self._socket.recvfrom(512)
            answer = self._answer(query)
            if answer:
                self._socket.sendto(answer, client)

    def _answer(self, query: bytes) -> bytes | None:
        name, end = _name(query)
        wanted = struct.unpack_from("!H", query, end)[0]
        if name == "slowdns.test":
            return None
        records = list(self._records(name, wanted))
        code = 0 if name in DNS else NXDOMAIN
        head = query[:2] + struct.pack("!5H", 0x8180 | code, 1, len(records), 0, 0)
        return head + query[12 : end + 4] + b"".join(records)

    def _records(self, name: str, wanted: int) -> Iterator[bytes]:
        lines = DNS.get(name, [])
        if name == "rebind.test" and wanted == TYPES["A"]:
            lines = [("A 93.184.216.34", "A 127.0.0.1")[next(self._rebinds) % 2]]
        for line in lines:
            kind, _, value = line.partition(" ")
            if kind == "CNAME":
                yield _record(name, kind, _labels(value))
                yield from self._records(value, wanted)
            elif TYPES.get(kind) == wanted:
                yield _record(name, kind, ip_address(value).packed)


def _name(query: bytes) -> tuple[str, int]:
    labels, at = [], 12
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode())
        at += 1 + length
    return ".".join(labels).lower(), at + 1


def _labels(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def _record(name: str, kind: str, data: bytes) -> bytes:
    return _labels(name) + struct.pack("!HHIH", TYPES[kind], 1, 0, len(data)) + data


class Canary:
    """Answers every POST, with and without TLS, and records the addresses and ports at which it was reached."""

    def __init__(self, ports: set[int], context: ssl.SSLContext) -> None:
        self.reached: list[tuple[str, int]] = []
        handler = _handler(self.reached, context)
        for port in ports:
            for kind, host in ((_LabServer, "0.0.0.0"), (_LabServer6, "::")):
                threading.Thread(target=kind((host, port), handler).serve_forever, daemon=True).start()


class _LabServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Ignores clients that disconnect early."""


class _LabServer6(_LabServer):
    address_family = socket.AF_INET6

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        super().server_bind()


def _handler(reached: list[tuple[str, int]], context: ssl.SSLContext) -> type[BaseHTTPRequestHandler]:
    class LabHandler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            host, port, *_ = self.request.getsockname()
            reached.append((host, port))
            if self.request.recv(1, socket.MSG_PEEK) == TLS_HANDSHAKE:
                self.request = context.wrap_socket(self.request, server_side=True)
            super().setup()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            _, _, location = self.path.partition("/redir?")
            self.send_response(302 if location else 200)
            self.send_header("Content-Length", "0")
            if location:
                self.send_header("Location", location)
            self.end_headers()

        def finish(self) -> None:
            super().finish()
            self.request.close()

        def log_message(self, *args: object) -> None:
            """Does nothing: pytest's output is for failures."""

    return LabHandler
