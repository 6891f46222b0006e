"""URLs that are gone: stored as keyed digests, and found after the encryption key has changed."""

from datetime import datetime, timedelta

import pytest

from app.bootstrap.stores import Stores
from app.store.encryption.cipher import Cipher
from app.store.gone_urls import GoneUrls

OLD, NEW = ("old", b"o" * 32), ("new", b"n" * 32)
URL = "https://bot.example/hooks/secret-path"
WEEKS = timedelta(days=14)


def gone_urls_with(stores: Stores, *keys: tuple[str, bytes]) -> GoneUrls:
    return GoneUrls(stores.redis, Cipher(dict(keys)), retention=WEEKS)


def test_what_is_gone_stays_so_when_another_key_encrypts(stores: Stores, registration, now: datetime) -> None:
    made = [registration(), registration(callback_url=URL + "/other")]
    stores.scripts.run(gone_urls_with(stores, OLD).add("t", URL, now))
    for keys, expected in (([OLD], True), ([NEW, OLD], True), ([NEW], False)):
        assert gone_urls_with(stores, *keys).are_gone("t", made) == [expected, False]
    stores.scripts.run(gone_urls_with(stores, NEW, OLD).remove("t", URL))
    assert gone_urls_with(stores, OLD).are_gone("t", made) == [False, False]


@pytest.mark.parametrize("keys", [[], [OLD]])
def test_a_digest_reveals_neither_the_url_nor_who_else_has_it(
    stores: Stores, now: datetime, keys: list[tuple[str, bytes]]
) -> None:
    for tenant in ("t", "other"):
        stores.scripts.run(gone_urls_with(stores, *keys).add(tenant, URL, now))
    first, second = (stores.redis.zrange(f"cph:gone:{tenant}", 0, -1) for tenant in ("t", "other"))
    assert len(first[0]) == 32
    assert first != second


def test_what_was_long_ago_is_forgotten(stores: Stores, registration, now: datetime) -> None:
    gone = gone_urls_with(stores, OLD)
    stores.scripts.run(gone.add("t", URL, now))
    stores.scripts.run(gone.add("t", URL + "/other", now + WEEKS + timedelta(seconds=1)))
    assert gone.are_gone("t", [registration(), registration(callback_url=URL + "/other")]) == [False, True]
