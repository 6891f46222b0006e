"""An HTTP response as http.client reads it, except for the headers, which http.client parses as a mail's."""

import re
from http.client import HTTPConnection, HTTPException, HTTPResponse, LineTooLong, UnknownProtocol

MAX_HEADERS = 100
MAX_LINE_BYTES = 65_536
SWITCHING_PROTOCOLS = 101
LENGTH = re.compile("[0-9]{1,18}")
OK, NO_CONTENT, NOT_MODIFIED = 200, 204, 304


class HttpAnswer(HTTPResponse):
    """headers: by lower-case name; values of a repeated name are joined by commas.

    body: what was received; truncated: the body is incomplete.
    """

    headers: dict[str, str]  # type: ignore[assignment] # http.client has a mail message here
    length: int | None
    body = b""
    truncated = False
    _connection: HTTPConnection | None = None

    def own_connection(self, connection: HTTPConnection) -> None:
        """Takes over the connection of a streamed answer: `close_all` closes it, and no other call uses it."""
        self._connection = connection

    def close_all(self) -> None:
        self.close()
        if self._connection:
            self._connection.close()

    def begin(self) -> None:
        version, status, reason = self._read_status()  # type: ignore[attr-defined] # http.client parses the status line
        # Skips interim responses: 100 Continue, 103 Early Hints.
        while status < OK and status != SWITCHING_PROTOCOLS:
            self._read_headers()
            version, status, reason = self._read_status()  # type: ignore[attr-defined]
        self.code = self.status = status
        self.reason = reason.strip()
        self.version = _number(version)
        self.headers, well_formed = self._read_headers()
        self.chunked = self.headers.get("transfer-encoding", "").lower().rpartition(",")[2].strip() == "chunked"
        self.chunk_left = None
        self.length = None if self.chunked else self._body_length()
        until_close = self.length is None and not self.chunked
        # A malformed header line may have been about the length, so the connection must not be reused.
        self.will_close = until_close or not well_formed or self._check_close()  # type: ignore[attr-defined]

    def read_body(self, max_bytes: int) -> None:
        """Reads the body. An error only truncates it: the status and headers are already an answer."""
        try:
            while chunk := self.read1(max_bytes + 1 - len(self.body)):
                self.body += chunk
            self.truncated = len(self.body) > max_bytes or bool(self.length)
        except (OSError, HTTPException):
            self.truncated = True
        self.body = self.body[:max_bytes]
        self.close()

    def _read_headers(self) -> tuple[dict[str, str], bool]:
        """Returns the headers, and whether every line was well-formed. Raises HTTPException for too many."""
        headers: dict[str, str] = {}
        name, well_formed = "", True
        for _ in range(MAX_HEADERS + 1):
            line = self.fp.readline(MAX_LINE_BYTES + 1)
            if len(line) > MAX_LINE_BYTES:
                raise LineTooLong("header line")
            if line in (b"\r\n", b"\n", b""):
                return headers, well_formed
            text = line.decode("latin-1")
            if name and text[0] in " \t":  # RFC 9112, 5.2: a folded line
                headers[name] = f"{headers[name]} {text.strip()}"
                continue
            name, colon, value = text.partition(":")
            if not colon or not name or name != name.strip():
                name, well_formed = "", False
                continue
            name, value = name.lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        raise HTTPException(f"more than {MAX_HEADERS} headers")

    def _body_length(self) -> int | None:
        """None if the body ends with the connection. Raises HTTPException for conflicting Content-Length values."""
        if self.status in (SWITCHING_PROTOCOLS, NO_CONTENT, NOT_MODIFIED):
            return 0
        lengths = {length.strip() for length in self.headers.get("content-length", "").split(",")}
        if len(lengths) > 1:
            raise HTTPException("more than one length")
        length = lengths.pop()
        return int(length) if LENGTH.fullmatch(length) and "transfer-encoding" not in self.headers else None


def _number(version: str) -> int:
    """Returns the version in http.client's form: 10 or 11. Raises UnknownProtocol."""
    if version in ("HTTP/1.0", "HTTP/0.9"):
        return 10
    if version.startswith("HTTP/1."):
        return 11
    raise UnknownProtocol(version)
