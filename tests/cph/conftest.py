"""A scripted cloud for each test, and the transport, token cache and clock of its clients."""

from collections.abc import Iterator

import pytest

import tests.support.official_sdk  # noqa: F401
from app.transport.client import Transport
from tests.support.manual_clock import ManualClock
from tests.support.scripted_cloud import NOW, MemoryCache, ScriptedCloud, running_cloud


@pytest.fixture(scope="session")  # creating one loads the CA bundle
def transport() -> Iterator[Transport]:
    transport = Transport()
    yield transport
    transport.close()


@pytest.fixture
def cloud() -> Iterator[ScriptedCloud]:
    with running_cloud() as cloud:
        yield cloud


@pytest.fixture
def cache() -> MemoryCache:
    return MemoryCache()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)
