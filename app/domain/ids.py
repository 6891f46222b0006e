"""Ids: a prefix, ten characters of time, sixteen of chance or of a hash; they sort by age."""

# Crockford's base 32, in small letters: sorts as the number does. Hexadecimal digits are part of it.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
PAIRS = tuple(first + second for first in ALPHABET for second in ALPHABET)
AS_PYTHON_HAS_IT = str.maketrans(ALPHABET, "0123456789abcdefghijklmnopqrstuv")
RANDOM_BITS = 80
TIME_DIGITS = 10


def new_id(prefix: str, now_ms: int, chance: int) -> str:
    """`reg_` + 26 characters; `chance` is a random number below 2**80."""
    return f"{prefix}_{_base32(now_ms, TIME_DIGITS)}{_base32(chance, 16)}"


def created_ms(id: str) -> int:
    """The time that `new_id` was given."""
    return int(id.partition("_")[2][:TIME_DIGITS].translate(AS_PYTHON_HAS_IT), len(ALPHABET))


def event_id(delivery_id: str) -> str:
    """An event belongs to one registration, so it has one delivery, named alike.

    Both are made of the registration, the job and its end (lua/shared/3_ending.lua), so that whatever is made anew gets
    the same id. Their time is the registration's, because nothing later is sure to come out the same twice.
    """
    return "evt_" + delivery_id.removeprefix("dlv_")


def _base32(number: int, length: int) -> str:
    pairs = [PAIRS[number >> shift & 1023] for shift in range(5 * length - 10, -1, -10)]  # `length` is even
    return "".join(pairs)
