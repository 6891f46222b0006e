"""Ids: a prefix, ten characters of time, sixteen of chance or of a hash; they sort by age."""

from hashlib import sha1

# Crockford's base 32, in small letters: sorts as the number does. Hexadecimal digits are part of it.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
RANDOM_BITS = 80


def new_id(prefix: str, now_ms: int, chance: int) -> str:
    """`reg_` + 26 characters; `chance` is a random number below 2**80."""
    return f"{prefix}_{_base32(now_ms, 10)}{_base32(chance, 16)}"


def event_id(registration_id: str, job_id: str, state: str) -> str:
    """The one id of "this job ended so, for this registration": whatever is rebuilt gets the same.

    Its time is the registration's, because nothing later is sure to come out the same twice.
    """
    digest = sha1(f"{registration_id}|{job_id}|{state}".encode(), usedforsecurity=False).hexdigest()
    return f"evt_{registration_id[4:14]}{digest[:16]}"


def delivery_id(event: str) -> str:
    """An event belongs to one registration, so it has one delivery, named alike."""
    return "dlv_" + event.removeprefix("evt_")


def _base32(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 32)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))
