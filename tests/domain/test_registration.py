"""The secrets of a registration: which ones sign, and that no representation shows them."""

from datetime import datetime, timedelta

import pytest

from app.domain.errors import InvalidField
from app.domain.registration import MAX_SECRETS

HOUR = timedelta(hours=1)
FIRST, SECOND, THIRD = "whsec_Zmlyc3Q", "whsec_c2Vjb25k", "whsec_dGhpcmQ"


def test_until_the_overlap_ends_the_earlier_secret_signs_as_well(registration, now: datetime) -> None:
    rotated = registration(secret=FIRST).rotated(SECOND, now, HOUR)
    assert rotated.secrets_at(now) == (SECOND, FIRST)
    assert rotated.secrets_at(now + HOUR - timedelta.resolution) == (SECOND, FIRST)
    assert rotated.secrets_at(now + HOUR) == (SECOND,)


def test_a_second_rotation_cuts_no_earlier_promise_short_and_makes_none_longer(registration, now: datetime) -> None:
    rotated = registration(secret=FIRST).rotated(SECOND, now, HOUR).rotated(THIRD, now + HOUR / 2, 2 * HOUR)
    assert rotated.secrets_at(now + HOUR / 2) == (THIRD, SECOND, FIRST)
    assert rotated.secrets_at(now + HOUR) == (THIRD, SECOND)
    assert rotated.secrets_at(now + 5 * HOUR / 2) == (THIRD,)


def test_without_an_overlap_every_earlier_secret_ends_at_once(registration, now: datetime) -> None:
    rotated = registration(secret=FIRST).rotated(SECOND, now, HOUR).rotated(THIRD, now, timedelta())
    assert rotated.secrets_at(now) == (THIRD,)
    assert rotated.earlier_secrets == ()


def test_a_secret_that_has_ended_is_not_kept(registration, now: datetime) -> None:
    rotated = registration(secret=FIRST).rotated(SECOND, now, HOUR).rotated(THIRD, now + HOUR, HOUR)
    assert [each.secret for each in rotated.earlier_secrets] == [SECOND]


def test_a_secret_that_signs_is_no_new_one(registration, now: datetime) -> None:
    rotated = registration(secret=FIRST).rotated(SECOND, now, HOUR)
    for secret in (FIRST, SECOND):
        with pytest.raises(InvalidField) as caught:
            rotated.rotated(secret, now, HOUR)
        assert caught.value.pointer == "/secret"
    assert rotated.rotated(FIRST, now + HOUR, HOUR).secrets_at(now + HOUR) == (FIRST, SECOND)


def test_no_more_than_so_many_secrets_sign_and_there_is_a_way_out(registration, now: datetime) -> None:
    rotated = registration(secret="whsec_0")
    for number in range(1, MAX_SECRETS):
        rotated = rotated.rotated(f"whsec_{number}", now, HOUR)
    assert len(rotated.secrets_at(now)) == MAX_SECRETS
    with pytest.raises(InvalidField) as caught:
        rotated.rotated("whsec_x", now, HOUR)
    assert caught.value.pointer == "/overlap_s"
    assert rotated.rotated("whsec_x", now, timedelta()).secrets_at(now) == ("whsec_x",)


def test_what_is_a_credential_is_in_no_repr(registration, now: datetime) -> None:
    rotated = registration(
        secret=FIRST, headers={"Authorization": "Bearer t0ken"}, callback_url="https://bot.example/p4th?q=qu3ry"
    ).rotated(SECOND, now, HOUR)
    for credential in ("Zmlyc3Q", "c2Vjb25k", "t0ken", "p4th", "qu3ry"):
        assert any(credential in each for each in rotated.credentials)
        assert credential not in repr(rotated)
    assert not any("bot.example" in each for each in rotated.credentials)
