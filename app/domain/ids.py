"""Ids: a prefix, ten characters of time, sixteen of randomness or of a hash. They sort by age."""

# Crockford's base 32, in lower case: sorts like the number. It contains the hexadecimal digits.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
PAIRS = tuple(first + second for first in ALPHABET for second in ALPHABET)
TO_PYTHON_DIGITS = str.maketrans(ALPHABET, "0123456789abcdefghijklmnopqrstuv")
RANDOM_BITS = 80
TIME_DIGITS = 10


def new_id(prefix: str, now_ms: int, random_number: int) -> str:
    """Returns `reg_` + 26 characters. random_number: below 2**80."""
    return f"{prefix}_{_base32(now_ms, TIME_DIGITS)}{_base32(random_number, 16)}"


def created_ms(id: str) -> int:
    """Returns the `now_ms` that `new_id` was given."""
    return int(id.partition("_")[2][:TIME_DIGITS].translate(TO_PYTHON_DIGITS), len(ALPHABET))


def event_id(delivery_id: str) -> str:
    """Returns the id of a delivery's event. Only the prefix differs: an event has one registration, so one delivery.

    The id derives from the registration, the job and its end (lua/shared/3_ending.lua), so recreating either yields
    the same id. Its time is the registration's: no later time is certain to be the same again.
    """
    return "evt_" + delivery_id.removeprefix("dlv_")


def _base32(number: int, length: int) -> str:
    pairs = [PAIRS[number >> shift & 1023] for shift in range(5 * length - 10, -1, -10)]  # `length` is even
    return "".join(pairs)
