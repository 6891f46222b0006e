"""Signatures, verified with the package that receivers use."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from app.domain import signature
from app.domain.signature import by_secret

secrets = st.binary(min_size=24, max_size=64).map(signature.new_secret)
bodies = st.dictionaries(st.text(), st.text()).map(lambda body: json.dumps(body, ensure_ascii=False))
ids = st.from_regex(r"evt_[0-9a-z]{26}", fullmatch=True)


TWO = [signature.new_secret(bytes([number]) * 32) for number in range(2)]


def now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the package that verifies reads the real clock


@given(secret=secrets, body=bodies, message_id=ids)
def test_what_we_sign_the_package_of_receivers_verifies(secret: str, body: str, message_id: str) -> None:
    headers = signature.headers([by_secret(secret)], message_id, now(), body.encode())
    assert Webhook(secret).verify(body, headers) == json.loads(body)


@given(earlier=secrets, newer=secrets, body=bodies)
def test_while_two_secrets_sign_whoever_knows_one_of_them_verifies(earlier: str, newer: str, body: str) -> None:
    headers = signature.headers([by_secret(newer), by_secret(earlier)], "evt_1", now(), body.encode())
    assert Webhook(earlier).verify(body, headers) == Webhook(newer).verify(body, headers) == json.loads(body)
    assert headers["webhook-signature"].startswith(by_secret(newer)(signed(headers, body.encode())))


def signed(headers: dict[str, str], body: bytes) -> bytes:
    return f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body


def flipped(text: bytes) -> Iterator[bytes]:
    """Yields copies of `text`, each with another bit flipped."""
    for position, shift in product(range(len(text)), range(8)):
        forged = bytearray(text)
        forged[position] ^= 1 << shift
        yield bytes(forged)


def test_every_single_flipped_bit_is_noticed() -> None:
    """Covers id, timestamp, body and signature, while both secrets of a rotation sign."""
    body = b'{"id":"evt_1","type":"job.succeeded"}'
    genuine = signature.headers(map(by_secret, TWO), "evt_1", now(), body)
    signatures = [base64.b64decode(each.removeprefix("v1,")) for each in genuine["webhook-signature"].split()]
    forgeries = [(forged, genuine) for forged in flipped(body)]
    for name in ("webhook-id", "webhook-timestamp"):
        # Header values are decoded as latin-1, one character per byte.
        forgeries += [(body, genuine | {name: forged.decode("latin-1")}) for forged in flipped(genuine[name].encode())]
    for first, second in zip(*map(flipped, signatures), strict=True):
        pair = " ".join("v1," + base64.b64encode(each).decode() for each in (first, second))
        forgeries.append((body, genuine | {"webhook-signature": pair}))
    assert len(forgeries) == 8 * (len(body) + len("evt_1") + len("1795459595") + 32)
    for secret in TWO:
        assert Webhook(secret).verify(body, genuine)
        for forged, headers in forgeries:
            with pytest.raises((WebhookVerificationError, UnicodeDecodeError)):
                Webhook(secret).verify(forged, headers)


def test_a_signature_is_the_one_of_the_specification() -> None:
    # The example of the Standard Webhooks specification, 1.0.
    headers = signature.headers(
        [by_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")],
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        datetime.fromtimestamp(1614265330, UTC),
        b'{"test": 2432232314}',
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


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
