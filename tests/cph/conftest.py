"""A scripted cloud for each test, and what calls it."""

from collections.abc import Iterator

import pytest
from scripted_cloud import Clock, Cloud, MemoryCache, running_cloud

from app.transport.client import Transport

with pytest.MonkeyPatch.context() as patch:
    # As it is imported, the official SDK writes a file into the home directory.
    patch.delenv("HOME", raising=False)
    import huaweicloudsdkcore.http.user_agent  # noqa: F401


@pytest.fixture(scope="session")  # it reads a bundle of certificates
def transport() -> Iterator[Transport]:
    transport = Transport()
    yield transport
    transport.close()


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with running_cloud() as cloud:
        yield cloud


@pytest.fixture
def cache() -> MemoryCache:
    return MemoryCache()


@pytest.fixture
def clock() -> Clock:
    return Clock()
