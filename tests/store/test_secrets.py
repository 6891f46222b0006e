"""The encryption of stored secrets, and the CPH token that workers share."""

from datetime import timedelta

import pytest

from app.bootstrap.stores import Stores
from app.domain.errors import OperatorError, Unavailable
from app.store.cph_tokens import SharedTokens
from app.store.encryption.cipher import Cipher
from app.store.engine import keys

OLD, NEW = b"o" * 32, b"n" * 32


def test_what_is_encrypted_is_decrypted_in_its_context_alone() -> None:
    cipher = Cipher({"k1": OLD})
    encrypted = cipher.encrypt("https://bot.example/token", "t|reg_1")
    assert "bot" not in encrypted
    assert cipher.decrypt(encrypted, "t|reg_1") == "https://bot.example/token"
    with pytest.raises(OperatorError):
        cipher.decrypt(encrypted, "t|reg_2")


def test_the_same_text_is_never_encrypted_alike() -> None:
    cipher = Cipher({"k1": OLD})
    assert cipher.encrypt("x", "p") != cipher.encrypt("x", "p")


def test_after_a_rotation_the_old_key_still_decrypts_and_the_new_one_encrypts() -> None:
    encrypted = Cipher({"k1": OLD}).encrypt("x", "p")
    rotated = Cipher({"k2": NEW, "k1": OLD})
    assert rotated.decrypt(encrypted, "p") == "x"
    assert rotated.encrypt("x", "p").startswith("k2.")


def test_a_key_that_is_gone_is_named() -> None:
    encrypted = Cipher({"k1": OLD}).encrypt("x", "p")
    with pytest.raises(OperatorError, match="'k1'"):
        Cipher({"k2": NEW}).decrypt(encrypted, "p")


def test_a_deployment_without_keys_works_and_can_be_given_keys_later() -> None:
    stored = Cipher({}).encrypt("x.y", "p")
    assert Cipher({"k1": OLD}).decrypt(stored, "p") == "x.y"


def tokens_of(stores: Stores, cipher: Cipher, whose: str) -> SharedTokens:
    return SharedTokens(stores.redis, cipher, project="default", whose=whose, login=timedelta(milliseconds=100))


@pytest.fixture
def tokens(stores: Stores) -> SharedTokens:
    return tokens_of(stores, stores.cipher, "user at iam")


def test_a_token_is_shared_encrypted_and_for_as_long_as_it_lives(stores: Stores, tokens: SharedTokens) -> None:
    assert tokens.load() is None
    tokens.save(b"token-of-the-cloud", timedelta(hours=24))
    assert tokens.load() == b"token-of-the-cloud"
    assert "token-of-the-cloud" not in stores.redis.get(keys.token("default"))
    assert 0 < stores.redis.ttl(keys.token("default")) <= 24 * 3600


def test_a_token_encrypted_with_a_key_that_is_gone_is_no_token(stores: Stores, tokens: SharedTokens) -> None:
    tokens_of(stores, Cipher({"old": OLD}), "user at iam").save(b"x", timedelta(1))
    assert tokens.load() is None


@pytest.mark.parametrize("keys", [{}, {"k1": OLD}])
def test_the_token_of_another_is_no_token(stores: Stores, keys: dict[str, bytes]) -> None:
    ours, others = (tokens_of(stores, Cipher(keys), whose) for whose in ("user at iam", "another at iam"))
    others.save(b"x", timedelta(1))
    assert (ours.load(), others.load()) == (None, b"x")


def test_one_logs_in_at_a_time_and_who_waits_too_long_says_so(stores: Stores, tokens: SharedTokens) -> None:
    with tokens.lock():
        assert stores.redis.persist(keys.lock("token:default"))  # otherwise it might expire before the other gives up
        with pytest.raises(Unavailable), tokens.lock():
            pass
        # Nor does it live for long if Redis' clock has leapt back.
        assert 0 < stores.redis.pttl(keys.lock("token:default")) <= 1_100
