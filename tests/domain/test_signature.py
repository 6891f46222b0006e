"""Signatures, judged by the package that receivers use."""

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from app.domain import signature

secrets = st.binary(min_size=24, max_size=64).map(signature.new_secret)
bodies = st.dictionaries(st.text(), st.text()).map(lambda body: json.dumps(body, ensure_ascii=False))
ids = st.from_regex(r"evt_[0-9a-z]{26}", fullmatch=True)


def now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the package that judges looks at the clock


@given(secret=secrets, body=bodies, message_id=ids)
def test_what_we_sign_the_package_of_receivers_verifies(secret: str, body: str, message_id: str) -> None:
    headers = signature.headers(secret, message_id, now(), body.encode())
    assert Webhook(secret).verify(body, headers) == json.loads(body)


@given(secret=secrets, body=st.binary(min_size=1, max_size=200), bit=st.integers(0))
def test_a_single_flipped_bit_is_noticed(secret: str, body: bytes, bit: int) -> None:
    headers = signature.headers(secret, "evt_1", now(), body)
    place, shift = divmod(bit % (len(body) * 8), 8)
    forged = bytearray(body)
    forged[place] ^= 1 << shift
    with pytest.raises((WebhookVerificationError, UnicodeDecodeError)):
        Webhook(secret).verify(forged.decode(), headers)


def test_a_signature_is_the_one_of_the_specification() -> None:
    # The example of the Standard Webhooks specification, 1.0.
    signed = signature.sign(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        datetime.fromtimestamp(1614265330, UTC),
        b'{"test": 2432232314}',
    )
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    ("secret", "why"),
    [
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "must start with whsec_"),
        ("whsec_no base64", "not base64"),
        ("whsec_" + base64.b64encode(b"x" * 23).decode(), "24 to 64 bytes"),
        ("whsec_" + base64.b64encode(b"x" * 65).decode(), "24 to 64 bytes"),
    ],
)
def test_a_secret_of_another_shape_is_refused(secret: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        signature.secret_bytes(secret)
