"""A transport for each test, and servers that follow a script."""

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from app.transport.client import Transport
from tests.support.scripted_server import ScriptedServer, serving


@pytest.fixture
def serve() -> Iterator[Callable[..., ScriptedServer]]:
    with serving() as start:
        yield start


@pytest.fixture
def transport() -> Iterator[Transport]:
    with closing(Transport()) as transport:
        yield transport
