"""Shared by the stand-in and the inbox: the listening address, the ready line, serving until a signal."""

import json
import signal
from collections.abc import Mapping
from contextlib import suppress
from io import BytesIO
from typing import Any, NamedTuple

import click
from flask import Flask, Response
from pydantic import ValidationError
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.test import run_wsgi_app

MAX_PORT = 65_535


class Address(NamedTuple):
    host: str
    port: int


def parse_address(_context: click.Context, _option: click.Parameter, value: str | None) -> Address | None:
    if value is None:
        return None
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or int(port) > MAX_PORT:
        raise click.BadParameter(f"{value} is not host:port, with a port of 0 to {MAX_PORT}")
    return Address(host.removeprefix("[").removesuffix("]"), int(port))


bind_option = click.option(
    "--bind",
    default="127.0.0.1:0",
    show_default=True,
    callback=parse_address,
    help="host:port to listen on; port 0 picks a free one.",
)


def print_line(line: Mapping[str, Any]) -> None:
    """Prints one JSON line and flushes it. A single write keeps lines of several threads apart."""
    print(json.dumps(line) + "\n", end="", flush=True)


def new_app() -> Flask:
    """Returns an app that answers 422 to invalid bodies of control calls."""
    app = Flask(__name__)
    app.register_error_handler(ValidationError, _invalid)
    return app


def _invalid(error: ValidationError) -> Response:
    return Response(error.json(include_url=False), 422, mimetype="application/json")


def json_answer(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Returns a JSON response with the fields in their order; Flask's jsonify would sort them."""
    return Response(json.dumps(body), status, headers, mimetype="application/json")


def serve(app: Flask, bind: Address, about: Mapping[str, Any]) -> None:
    """Prints a line with the URL and `about`, then serves until SIGTERM or SIGINT."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        server = make_server(bind.host, bind.port, app, threaded=True, request_handler=KeepAliveHandler)
        print_line({"url": f"http://{bind.host}:{server.port}", **about})
        server.serve_forever()


class KeepAliveHandler(WSGIRequestHandler):
    """Keeps connections open, as CPH's gateway does; werkzeug's own handler closes each after one response."""

    protocol_version = "HTTP/1.1"
    # Head and body are sent as two packets: Nagle's algorithm would delay the second by 40 ms.
    disable_nagle_algorithm = True

    def run_wsgi(self) -> None:
        environ = self.make_environ()
        # The body is read completely: bytes that the application leaves unread would be parsed as the next request.
        environ["wsgi.input"] = BytesIO(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        chunks, status, headers = run_wsgi_app(self.server.app, environ)
        code, _, reason = status.partition(" ")
        self.send_response(int(code), reason)
        for name, value in headers:
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Connection", "close")
        self.end_headers()
        for chunk in chunks:
            self.wfile.write(chunk)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Logs nothing: both servers record requests in their own way."""
