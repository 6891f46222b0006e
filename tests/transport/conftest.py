"""A server that does what a script says, for each test."""

from collections.abc import Callable, Iterator

import pytest

from tests.scripted_server import Server, serving


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    with serving() as start:
        yield start
