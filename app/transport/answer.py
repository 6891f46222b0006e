"""An answer, read as http.client reads it, but for its headers: http.client takes them for those of a mail."""

import re
from http.client import HTTPConnection, HTTPException, HTTPResponse, LineTooLong, UnknownProtocol

MOST_HEADERS = 100
LONGEST_LINE = 65_536
SWITCHING_PROTOCOLS = 101
LENGTH = re.compile("[0-9]{1,18}")
OK, NO_CONTENT, NOT_MODIFIED = 200, 204, 304


class HttpAnswer(HTTPResponse):
    """headers: by their names in small letters; those of one name are joined by commas.

    body: as far as it came; truncated: it is not all there.
    """

    headers: dict[str, str]  # type: ignore[assignment] # http.client's is a mail's
    length: int | None
    body = b""
    truncated = False
    _connection: HTTPConnection | None = None

    def ends_with_it(self, connection: HTTPConnection) -> None:
        """It is read as it comes, and nobody else gets the connection."""
        self._connection = connection

    def end(self) -> None:
        self.close()
        if self._connection:
            self._connection.close()

    def begin(self) -> None:
        version, status, reason = self._read_status()  # type: ignore[attr-defined] # all that is left of http.client's own
        # 100 Continue, 103 Early Hints: the answer comes after them.
        while status < OK and status != SWITCHING_PROTOCOLS:
            self._read_headers()
            version, status, reason = self._read_status()  # type: ignore[attr-defined]
        self.code = self.status = status
        self.reason = reason.strip()
        self.version = _number(version)
        self.headers, clean = self._read_headers()
        self.chunked = self.headers.get("transfer-encoding", "").lower().rpartition(",")[2].strip() == "chunked"
        self.chunk_left = None
        self.length = None if self.chunked else self._body_length()
        endless = self.length is None and not self.chunked
        # What is not understood may have been about where this answer ends: another must not be looked for behind it.
        self.will_close = endless or not clean or self._check_close()  # type: ignore[attr-defined]

    def read_at_most(self, most: int) -> None:
        """Reads the body. What goes wrong from here on cuts it short: a status with headers is an answer."""
        try:
            while piece := self.read1(most + 1 - len(self.body)):
                self.body += piece
            self.truncated = len(self.body) > most or bool(self.length)
        except (OSError, HTTPException):
            self.truncated = True
        self.body = self.body[:most]
        self.close()

    def _read_headers(self) -> tuple[dict[str, str], bool]:
        """And whether each line was one."""
        headers: dict[str, str] = {}
        name, clean = "", True
        for _ in range(MOST_HEADERS + 1):
            line = self.fp.readline(LONGEST_LINE + 1)
            if len(line) > LONGEST_LINE:
                raise LineTooLong("header line")
            if line in (b"\r\n", b"\n", b""):
                return headers, clean
            text = line.decode("latin-1")
            if name and text[0] in " \t":  # RFC 9112, 5.2: a line folded
                headers[name] = f"{headers[name]} {text.strip()}"
                continue
            name, colon, value = text.partition(":")
            if not colon or not name or name != name.strip():
                name, clean = "", False
                continue
            name, value = name.lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        raise HTTPException(f"more than {MOST_HEADERS} headers")

    def _body_length(self) -> int | None:
        """None if it ends with the connection. HTTPException if its length is said in two ways."""
        if self.status in (SWITCHING_PROTOCOLS, NO_CONTENT, NOT_MODIFIED):
            return 0
        given = {length.strip() for length in self.headers.get("content-length", "").split(",")}
        if len(given) > 1:
            raise HTTPException("more than one length")
        length = given.pop()
        return int(length) if LENGTH.fullmatch(length) and "transfer-encoding" not in self.headers else None


def _number(version: str) -> int:
    """As http.client has it: 10 or 11."""
    if version in ("HTTP/1.0", "HTTP/0.9"):
        return 10
    if version.startswith("HTTP/1."):
        return 11
    raise UnknownProtocol(version)
