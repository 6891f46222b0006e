"""Encrypts single texts in stored JSON objects. Scripts pass these objects on without reading the texts.

The encrypted `execute_msg` is the member `sealed_execute_msg`. Versions before 0.1.0 stored these texts unencrypted.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from app.domain.errors import OperatorError
from app.domain.job import Job
from app.store.encryption.cipher import Cipher

PREFIX = "sealed_"
JOB_TEXTS = ("execute_msg",)
RECORD_TEXTS = ("link",)
ATTEMPT_TEXTS = ("service_message", "said", "response_excerpt")


def seal(cipher: Cipher, values: Mapping[str, Any], names: Sequence[str], context: str) -> dict[str, Any]:
    """Returns the values with these texts encrypted, for this context; unchanged in a deployment without keys."""
    if not cipher.has_key:
        return dict(values)
    sealed = {name: value for name, value in values.items() if name not in names or not value}
    for name in names:
        if values.get(name):
            sealed[PREFIX + name] = cipher.encrypt(values[name], text_context(context, name))
    return sealed


def unseal(
    cipher: Cipher, values: Mapping[str, Any], names: Sequence[str], context: str, *, redact: bool = False
) -> dict[str, Any]:
    """Reverses `seal`. If a key is missing it raises OperatorError; redact: the text is None instead."""
    found = dict(values)
    for name in names:
        encrypted = found.pop(PREFIX + name, None)
        if encrypted is None:
            continue
        try:
            found[name] = cipher.decrypt(encrypted, text_context(context, name))
        except OperatorError:
            if not redact:
                raise
            found[name] = None
    return found


def seal_text(cipher: Cipher, text: str, context: str) -> str:
    """Same as `seal`, for a text that is not in a JSON object. No text that is stored as it is begins with PREFIX."""
    return PREFIX + cipher.encrypt(text, context) if cipher.has_key else text


def unseal_text(cipher: Cipher, stored: str | None, context: str) -> str | None:
    """Reverses `seal_text`. Returns None if the key is missing."""
    if stored is None or not stored.startswith(PREFIX):
        return stored
    try:
        return cipher.decrypt(stored.removeprefix(PREFIX), context)
    except OperatorError:
        return None


def text_context(context: str, name: str) -> str:
    """Returns the context to which the encryption of a text is bound."""
    return f"{context}|{name}"


def seal_job(cipher: Cipher, job: Job) -> dict[str, Any]:
    values = job.as_stored()
    return seal(cipher, values, JOB_TEXTS, job_context(values))


def unseal_job(cipher: Cipher, values: Mapping[str, Any], *, redact: bool = False) -> Job:
    """values: from `seal_job`, with the state. Raises OperatorError as `unseal` does."""
    return Job.from_dict(unseal(cipher, values, JOB_TEXTS, job_context(values), redact=redact))


def job_context(values: Mapping[str, Any]) -> str:
    """All registrations that wait for a job share its text."""
    return f"job|{values.get('job_id') or ''}"
