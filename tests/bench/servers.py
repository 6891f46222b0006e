"""Stand-ins for CPH and subscribers. They do little work, as they are not measured."""

import asyncio
import json
import re
import sys
from time import monotonic
from typing import Protocol

CONTROL = "/_bench/"
HEAD_END = b"\r\n\r\n"
CONTENT_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)")
WEBHOOK_ID = re.compile(rb"\r\nwebhook-id: ([^\r]+)")
RUNNING, SUCCEEDED = "1", "2"
JOB_JSON = (
    '{{"error_msg":null,"execute_msg":null,"job_id":"{job_id}","phone_id":"9b28fbe50ded4060b8149a47e55dba82",'
    '"end_time":null,"begin_time":"2019-04-26T07:00:00Z","error_code":null,'
    '"request_id":"{request}","status":{status}}}'
)
ONE_REQUEST = "2676a3b4f7df49c297c6775989806d32"
JOBS_A_REQUEST = 100


class Face(Protocol):
    def answer(self, path: str, head: bytes) -> bytes:
        """The body of a 200."""

    def control(self, query: str) -> object:
        """Answers a control query of the benchmark, as JSON."""


class BenchCph:
    """Every job runs until the control query `end/<job>`. Lists are empty. Records the times of all polls."""

    def __init__(self) -> None:
        self._polled_at: dict[str, list[float]] = {}
        self._ended_at: dict[str, float] = {}
        self._reported_at: dict[str, float] = {}

    def answer(self, path: str, head: bytes) -> bytes:
        now, job_id = monotonic(), path.rpartition("/")[2]
        if "?" in job_id:
            return b'{"jobs":[]}'
        self._polled_at.setdefault(job_id, []).append(now)
        ended = job_id in self._ended_at
        if ended:
            self._reported_at.setdefault(job_id, now)
        return JOB_JSON.format(job_id=job_id, request=ONE_REQUEST, status=SUCCEEDED if ended else RUNNING).encode()

    def control(self, query: str) -> object:
        match query.split("/"):
            case ["polled"]:
                return self._polled_at
            case ["polled", job_id]:
                return len(self._polled_at.get(job_id, ()))
            case ["end", job_id]:
                return self._ended_at.setdefault(job_id, monotonic())
            case ["reported", job_id]:
                return self._reported_at[job_id]
        raise ValueError(query)


class ListingCph:
    """Jobs run for ever, JOBS_A_REQUEST per request and page. Records the times of all polls of each request."""

    def __init__(self) -> None:
        self._polled_at: dict[str, list[float]] = {}
        self._pages: dict[str, bytes] = {}

    def answer(self, path: str, head: bytes) -> bytes:
        _, listing, query = path.rpartition("/jobs?")
        if not listing:
            job_id = path.rpartition("/")[2]
            return JOB_JSON.format(job_id=job_id, request=request_of(job_id), status=RUNNING).encode()
        request_ids, offset, _ = (part.partition("=")[2] for part in query.split("&"))
        requests = request_ids.split("%2C")
        if offset == "0":
            now = monotonic()
            for request in requests:
                self._polled_at.setdefault(request, []).append(now)
        page = int(offset) // JOBS_A_REQUEST
        return self._page(requests[page]) if page < len(requests) else b'{"jobs":[]}'

    def control(self, query: str) -> object:
        match query.split("/"):
            case ["polled"]:
                return self._polled_at
            case ["polled", job_id]:
                return len(self._polled_at.get(request_of(job_id), ()))
        raise ValueError(query)

    def _page(self, request: str) -> bytes:
        if request not in self._pages:
            first = int(request, 16) * JOBS_A_REQUEST
            ids = (f"{number:032x}" for number in range(first, first + JOBS_A_REQUEST))
            jobs = ",".join(JOB_JSON.format(job_id=id, request=request, status=RUNNING) for id in ids)
            self._pages[request] = b'{"request_id":"x","jobs":[%b]}' % jobs.encode()
        return self._pages[request]


def request_of(job_id: str) -> str:
    return f"{int(job_id, 16) // JOBS_A_REQUEST:032x}"


class BenchReceiver:
    """Accepts every callback. Records when each `webhook-id` first arrived."""

    def __init__(self) -> None:
        self._arrived_at: dict[str, float] = {}

    def answer(self, path: str, head: bytes) -> bytes:
        found = WEBHOOK_ID.search(head)
        if found:
            self._arrived_at.setdefault(found[1].decode(), monotonic())
        return b""

    def control(self, query: str) -> object:
        match query:
            case "count":
                return len(self._arrived_at)
            case "arrivals":
                return list(self._arrived_at.values())
        raise ValueError(query)


class ServerConnection(asyncio.Protocol):
    """A kept-alive connection. Parses only the HTTP that the measured programs send."""

    _transport: asyncio.Transport

    def __init__(self, face: Face, latency_s: float) -> None:
        self._face = face
        self._latency_s = latency_s
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (head_length := self._received.find(HEAD_END)) >= 0:
            head = self._received[:head_length]
            found = CONTENT_LENGTH.search(head)
            length = head_length + len(HEAD_END) + (int(found[1]) if found else 0)
            if len(self._received) < length:
                return
            self._received = self._received[length:]
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        path = head.split(b" ", 2)[1].decode()
        if path.startswith(CONTROL):
            self._write(json.dumps(self._face.control(path.removeprefix(CONTROL))).encode())
            return
        body = self._face.answer(path, head)
        if self._latency_s:
            asyncio.get_running_loop().call_later(self._latency_s, self._write, body)
        else:
            self._write(body)

    def _write(self, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        self._transport.write(head + body)


async def serve(face: Face, latency_s: float, ports: int) -> None:
    """Prints the URLs when ready, and serves until the process is killed."""
    loop = asyncio.get_running_loop()
    listening = [
        await loop.create_server(lambda: ServerConnection(face, latency_s), "127.0.0.1", backlog=1024)
        for _ in range(ports)
    ]
    urls = [f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}" for server in listening]
    print(json.dumps({"urls": urls}), flush=True)
    await listening[0].serve_forever()


FACES: dict[str, type[Face]] = {"cph": BenchCph, "listing": ListingCph, "receiver": BenchReceiver}

if __name__ == "__main__":
    asyncio.run(serve(FACES[sys.argv[1]](), latency_s=float(sys.argv[2]), ports=int(sys.argv[3])))
