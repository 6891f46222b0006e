"""Ids: a prefix, ten characters of time, sixteen of chance or of a hash; they sort by age."""

from base64 import b32encode

# Crockford's base 32, in small letters: sorts as the number does. Hexadecimal digits are part of it.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
RANDOM_BITS = 80
TIME_DIGITS = 10
LENGTH = 26
DIGITS = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", ALPHABET.encode())


def new_id(prefix: str, now_ms: int, chance: int) -> str:
    """`reg_` + 26 characters; `chance` is a random number below 2**80."""
    number = now_ms << RANDOM_BITS | chance
    # The library's base 32 has other digits, and makes 32 of 20 bytes: ours are the last of them.
    return f"{prefix}_{b32encode(number.to_bytes(20)).translate(DIGITS)[-LENGTH:].decode()}"


def created_ms(id: str) -> int:
    """The time that `new_id` was given."""
    time = 0
    for digit in id.partition("_")[2][:TIME_DIGITS]:
        time = time * len(ALPHABET) + ALPHABET.index(digit)
    return time


def event_id(delivery_id: str) -> str:
    """An event belongs to one registration, so it has one delivery, named alike.

    Both are made of the registration, the job and its end (lua/shared/3_ending.lua), so that whatever is made anew gets
    the same id. Their time is the registration's, because nothing later is sure to come out the same twice.
    """
    return "evt_" + delivery_id.removeprefix("dlv_")
