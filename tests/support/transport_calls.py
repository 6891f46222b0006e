"""Calls over a transport, and scripts for servers that answer them."""

from datetime import timedelta

import pytest

from app.transport.unreachable import Unreachable

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SHORT = timedelta(seconds=1)
LONG = timedelta(seconds=8)


def answering(*answers):
    """A script that sends one answer per request, on one connection."""

    def script(peer):
        for answer in answers:
            peer.request()
            peer.send(answer)

    return script


def unreachable(transport, url, deadline=LONG):
    with pytest.raises(Unreachable) as caught:
        transport.send("POST", f"{url}/hooks/s3cret?token=s3cret", headers={}, body=b"x", deadline=deadline)
    assert "s3cret" not in str(caught.value)
    return caught.value


def get(transport, url, deadline=LONG, **options):
    return transport.send("GET", url, headers={}, deadline=deadline, **options)
