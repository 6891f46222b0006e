"""Commands that get what the API of this version never answers: from a proxy, a login page, an older or a newer API."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from tests.cli.test_cli import run
from tests.support.receiver import Receiver
from tests.support.scripted_server import Peer, ScriptedServer, serving

KEY = "canary-canary"
HTML = b"<html><body>Sign in \x1b[2J</body></html>"
Serve = Callable[..., ScriptedServer]
COMMANDS = (
    ("registrations", "list"),
    ("registrations", "show", "reg_1"),
    ("registrations", "cancel", "reg_1"),
    ("deliveries", "list"),
    ("deliveries", "show", "dlv_1"),
    ("deliveries", "redeliver", "--all"),
    ("destinations", "list"),
    ("destinations", "discard", "dst_1", "--yes"),
    ("watch", "job-1"),
    ("listen",),
)


@pytest.fixture
def serve() -> Iterator[Serve]:
    with serving() as start:
        yield start


def reply(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def always(answer: bytes) -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        while peer.request():
            peer.send(answer)

    return script


def by_path(answers: list[tuple[str, bytes]]) -> Callable[[Peer], None]:
    """Gives the first answer whose pattern is in the request line; each answer but the last of its pattern once."""

    def script(peer: Peer) -> None:
        while head := peer.request():
            line = head.split(b"\r\n")[0].decode()
            fitting = [each for each in answers if re.search(each[0], line)]
            peer.send(fitting[0][1])
            if len([each for each in fitting if each[0] == fitting[0][0]]) > 1:
                answers.remove(fitting[0])

    return script


def call(server: ScriptedServer, *arguments: str) -> Result:
    return run({"BRIDGE_URL": server.url, "BRIDGE_KEY": KEY}, *arguments)


def told(result: Result) -> str:
    """The only line of a command that was refused: without a traceback, the key or a control character."""
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in (1, 2), result.output
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("Error: ")
    assert result.stderr[:-1].isprintable()
    assert KEY not in result.stderr
    return result.stderr


@pytest.mark.parametrize(
    ("status", "headers", "message"),
    [
        ("200 OK", "", "does not answer with JSON: check --api"),
        (
            "302 Found",
            "Location: https://sso.example/login?next=secret\r\n",
            "a redirect to https://sso.example/login: ",
        ),
        ("308 Moved", f"Location: https://bridge.example/{KEY}\r\n", "a redirect to https://bridge.example/…: name"),
        ("304 Not Modified", "", "answers HTTP 304, not as the bridge's API"),
        ("401 Unauthorized", "", "a proxy before it asks for credentials of its own"),
        ("403 Forbidden", "", "answers HTTP 403, not as the bridge's API"),
        ("407 Proxy", "", "a proxy that asks for credentials"),
        ("408 Timeout", "", "asks to retry later: HTTP 408"),
        ("413 Too Large", "", "a proxy that refuses the size of the request"),
        ("429 Slow", "Retry-After: 999999999\r\n", "asks to retry later: HTTP 429"),
        ("500 Oops", "X-Request-Id: a\x9bb\r\n", "failed: HTTP 500"),
        ("502 Bad Gateway", "", "asks to retry later: HTTP 502"),
        ("503 Away", "Retry-After: soon\r\n", "asks to retry later: HTTP 503"),
    ],
)
def test_a_proxys_page_is_told_in_one_line_by_every_command(
    serve: Serve, status: str, headers: str, message: str
) -> None:
    server = serve(always(reply(b"" if status.startswith("304") else HTML, status, headers)))
    for arguments in COMMANDS:
        refused = told(call(server, *arguments))
        assert message in refused
        assert "secret" not in refused


BODIES = [
    b"",
    b"null",
    b"[]",
    b"5",
    b'"text"',
    b"{",
    b"[" * 100_000,
    b"{}",
    b'{"items":null,"next_cursor":null}',
    b'{"items":{},"next_cursor":5,"jobs":5,"state":null,"id":["x"]}',
    b'{"items":[null,5,"x",{}],"next_cursor":{},"count":"many","discarded":null}',
    b'{"items":[{"id":"a\xb0\xb2","jobs":[null,{"state":5}],"deliveries":[1],"x":"\x1b[2J',
    b"\xff\xfe{\x00}\x00",
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_an_answer_that_lacks_what_a_command_needs_is_told_in_one_line(serve: Serve, body: bytes) -> None:
    server = serve(always(reply(body)))
    for arguments in COMMANDS:
        result = call(server, *arguments)
        if result.exit_code:
            assert "check --api" in told(result) or "incomplete" in told(result)
        assert not re.search(r"[^\n -\U0010ffff]|\x7f", result.output)


def test_an_answer_that_is_cut_short_is_no_shorter_list(serve: Serve) -> None:
    cut = reply(b'{"items":[],"next_cursor":null}').replace(b"Content-Length: 31", b"Content-Length: 99")

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(cut)

    assert "is incomplete" in told(call(serve(script), "registrations", "list"))


def test_a_list_that_never_ends_is_not_read_for_ever(serve: Serve) -> None:
    server = serve(always(reply(b'{"items":[{"id":"reg_1"}],"next_cursor":"same"}')))
    result = call(server, "registrations", "list", "--json", "--limit", "999")
    assert result.exit_code == 2
    assert "the list is incomplete" in result.stderr


def test_one_odd_record_of_a_list_costs_itself(serve: Serve) -> None:
    items = [
        None,
        {"id": "reg_1", "state": "paused", "jobs": [{"state": "running"}, {"state": "asleep"}, None], "more": 1},
        {"id": "reg_2\x1b[2J", "jobs": 5},
    ]
    server = serve(always(reply(json.dumps({"items": items, "next_cursor": None}).encode())))
    _, first, second = call(server, "registrations", "list").output.splitlines()
    assert first.split()[:3] == ["reg_1", "paused", "-"]
    assert "1 running, 1 asleep" in first
    assert second.split()[0] == "reg_2\ufffd[2J"
    shown = call(server, "registrations", "list", "--json").stdout
    assert [json.loads(line).get("id") for line in shown.splitlines()] == ["reg_1", "reg_2\x1b[2J"]


def test_a_shown_record_cannot_draw_on_the_terminal(serve: Serve) -> None:
    server = serve(always(reply(json.dumps({"id\x1b[2J": "a\x9b2J"}, ensure_ascii=False).encode())))
    for arguments in (("registrations", "show", "x"), ("registrations", "show", "x", "--json")):
        shown = call(server, *arguments)
        assert shown.exit_code == 0
        assert not re.search(r"[\x1b\x9b]", shown.stdout)


CURSOR = (r"/v1/events\?", reply(b'{"items":[],"next_cursor":"c0"}'))
CREATED = ("POST /v1/registrations", reply(b'{"id":"reg_1"}', "201 Created"))


def registration(**fields: Any) -> tuple[str, bytes]:
    return "GET /v1/registrations/reg_1", reply(json.dumps(fields).encode())


def test_a_watch_outlives_answers_that_cannot_be_read(serve: Serve) -> None:
    path = "GET /v1/registrations/reg_1"
    answers = [
        CURSOR,
        CREATED,
        (path, reply(HTML)),
        (path, reply(b'{"state":"watching","jobs":[{"job_id":"job-1","state":"asleep"},null]}')),
        registration(state="finished", jobs=[{"job_id": "job-1", "state": "succeeded"}]),
    ]
    result = call(serve(by_path(answers)), "watch", "job-1")
    assert result.exit_code == 0, result.output
    assert "does not answer with JSON" in result.stderr
    assert result.stdout.splitlines()[0].startswith("job-1  asleep")


@pytest.mark.parametrize(
    ("state", "job_state", "code"),
    [("finished", "vanished", 1), ("archived", "succeeded", 0), ("archived", "failed", 1)],
)
def test_a_state_that_only_a_newer_api_has_ends_a_watch_by_what_is_known(
    serve: Serve, state: str, job_state: str, code: int
) -> None:
    answers = [CURSOR, CREATED, registration(state=state, jobs=[{"job_id": "job-1", "state": job_state}])]
    result = call(serve(by_path(answers)), "watch", "job-1")
    assert result.exit_code == code, result.output
    assert job_state in result.stdout


def event(id: str, **fields: Any) -> dict[str, Any]:
    job = {"job_id": f"job-{id}", "state": "failed", "error_code": "CPS.0005", "error_msg": "no\x1b[2J"}
    return {"id": f"evt_{id}", "type": "job.failed", "timestamp": "2026-04-26T07:00:08Z", "data": {"job": job}} | fields


def as_data(**fields: Any) -> bytes:
    return b"data: " + json.dumps(event(**fields)).encode()


STREAM = b"\n\n".join(
    [
        b"\xef\xbb\xbfretry: soon\n: comment\nnonsense\nid: c1\n" + as_data(id="1"),
        b"id: c2\ndata: <html>",
        b"id: c3\ndata: [1]",
        b'id: c4\ndata: {"id":"evt_4","type":"job.failed","data":{"job":{"job_id":"job-4","error_msg":"\xe6\x89',
        b"id: c5\r\ndata: " + json.dumps({"id": "evt_5", "type": "job.dreamt", "data": None}).encode() + b"\r",
        b"id: c\xff6\n" + as_data(id="6", data={"job": 5, "group": [1]}),
        b"id: c7\nevent: x\ndata:" + b"x" * 5_000_000,
        b"id: c8\n" + as_data(id="8"),
        as_data(id="9"),
        b"",
    ]
)
REVOKED = reply(b'{"detail":"the key is revoked"}', "401 Unauthorized")
EVENTS = reply(STREAM, headers="Content-Type: text/event-stream\r\n")


def streamed() -> list[tuple[str, bytes]]:
    """The last answer ends the command."""
    stream = r"GET /v1/events/stream"
    return [
        (stream, reply(HTML, headers="Content-Type: text/html\r\n")),
        (stream, EVENTS),
        (stream, REVOKED),
        CURSOR,
    ]


def test_one_damaged_event_ends_no_listening_and_loses_no_cursor(serve: Serve, tmp_path: Path) -> None:
    state = tmp_path / "state"
    result = call(serve(by_path(streamed())), "listen", "--state", str(state))
    assert result.exit_code == 2
    assert "job-1  CPS.0005: no\ufffd[2J\n" in result.stdout
    assert re.findall(r"job-\w+|job.dreamt", result.stdout) == ["job-1", "job-4", "job.dreamt", "job-8", "job-9"]
    assert re.findall(r"skipped; its cursor is (\w+)", result.stderr) == ["c2", "c3", "c7"]
    assert "answers with text/html instead of events" in result.stderr
    assert "\x1b" not in result.output
    assert state.read_text(encoding="ascii") == "c8\n"


def test_programs_get_only_json_of_a_damaged_stream(serve: Serve) -> None:
    result = call(serve(by_path(streamed())), "listen", "--json")
    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == [f"evt_{id}" for id in (1, 4, 5, 6, 8, 9)]


def test_a_damaged_event_is_not_forwarded_and_the_others_are(serve: Serve, receiver: Receiver) -> None:
    result = call(serve(by_path(streamed())), "listen", "--forward", receiver.url)
    assert result.exit_code == 2
    assert [callback.headers["webhook-id"] for callback in receiver.callbacks] == [
        f"evt_{id}" for id in (1, 4, 5, 6, 8, 9)
    ]


def test_a_url_that_ends_with_the_version_is_the_same_api(serve: Serve) -> None:
    server = serve(by_path([("GET /bridge/v1/registrations", reply(b'{"items":[],"next_cursor":null}'))]))
    for path in ("/bridge", "/bridge/", "/bridge/v1", "/bridge/v1/"):
        result = run({"BRIDGE_URL": server.url + path, "BRIDGE_KEY": KEY}, "registrations", "list", "--json")
        assert (result.exit_code, result.output) == (0, "")
