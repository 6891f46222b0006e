"""Re-encrypts stored data with the first key, page by page, while the bridge runs; encrypts what is not encrypted."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from app.domain.errors import OperatorError
from app.domain.wire import to_json
from app.store import destinations, idempotency, registrations
from app.store.agenda import DELIVER
from app.store.encryption.cipher import UNENCRYPTED, Cipher, key_of
from app.store.encryption.sealed_values import ATTEMPT_TEXTS, JOB_TEXTS, PREFIX, RECORD_TEXTS, job_context, text_context
from app.store.engine import keys
from app.store.engine.scripts import ScriptCall, Scripts

PAGE = 500


class Reencryption:
    """One pass over registrations, stored responses, deliveries with their attempts, ended jobs and the failures of
    destinations; not over CPH tokens, whose loss costs one login.

    seen, rewritten: counts so far. undecryptable: count by id of the key.
    """

    def __init__(self, scripts: Scripts, cipher: Cipher) -> None:
        self._scripts = scripts
        self._redis = scripts.redis
        self._cipher = cipher
        self.seen = 0
        self.rewritten = 0
        self.undecryptable: Counter[str] = Counter()

    def pages(self) -> Iterator[None]:
        """Re-encrypts one page per iteration."""
        yield from self._walk(keys.registration("reg_*"), self._registrations)
        yield from self._walk(keys.idempotency("*", "*"), self._answers)
        yield from self._walk(keys.delivery("dlv_*"), self._deliveries)
        yield from self._walk(keys.watch("*", "*"), self._watches)
        yield from self._walk(keys.lane(DELIVER, "*"), self._lanes)

    def _walk(self, pattern: str, rewrites: Callable[[Sequence[str]], Iterator[ScriptCall]]) -> Iterator[None]:
        cursor = None
        while cursor != 0:
            cursor, names = self._redis.scan(cursor or 0, match=pattern, count=PAGE)
            # A value that has changed meanwhile is not written: its writer used the first key.
            self.rewritten += sum(self._scripts.run_all(rewrites(names)))
            yield

    def _registrations(self, names: Sequence[str]) -> Iterator[ScriptCall]:
        ids = [id for _, id, *more in (name.split(":") for name in names) if not more]
        pipeline = self._redis.pipeline(transaction=False)
        for id in ids:
            pipeline.get(keys.registration(id))
            pipeline.hget(keys.progress(id), "tenant")
        answers = pipeline.execute()
        for id, record, tenant in zip(ids, answers[::2], answers[1::2], strict=True):
            if record is None or tenant is None:
                continue
            fields, context = json.loads(record), registrations.context(tenant, id)
            changed = self._reseal(fields, RECORD_TEXTS, context)
            changed["sealed"] = self._reencrypt(fields["sealed"], context) or fields["sealed"]
            if "ended" in fields:
                changed["ended"] = [self._reseal(job, JOB_TEXTS, job_context(job)) for job in fields["ended"]]
            if changed != fields:
                yield _rewrite(keys.registration(id), record, to_json(changed))

    def _answers(self, names: Sequence[str]) -> Iterator[ScriptCall]:
        for name, value in zip(names, self._redis.mget(names) if names else (), strict=True):
            _, _, tenant, key_digest = name.split(":")
            if value and (encrypted := self._reencrypt(value, idempotency.context(tenant, key_digest))):
                yield _rewrite(name, value, encrypted)

    def _deliveries(self, names: Sequence[str]) -> Iterator[ScriptCall]:
        ids = [name.split(":")[2] for name in names if name.count(":") == keys.delivery("").count(":")]
        pipeline = self._redis.pipeline(transaction=False)
        for id in ids:
            pipeline.hget(keys.delivery(id), "about")
            pipeline.lrange(keys.attempts(id), 0, -1)
        answers = pipeline.execute()
        for id, about, attempts in zip(ids, answers[::2], answers[1::2], strict=True):
            yield from self._job(keys.delivery(id), "about", about)
            for index, line in enumerate(attempts):
                fields = json.loads(line)
                changed = self._reseal(fields, ATTEMPT_TEXTS, id)
                if changed != fields:
                    new = to_json(changed)
                    yield ScriptCall("replace_entry", name=keys.attempts(id), index=index, old=line, new=new)

    def _watches(self, names: Sequence[str]) -> Iterator[ScriptCall]:
        for name, job in zip(names, self._fields(names, "job"), strict=True):
            yield from self._job(name, "job", job)

    def _lanes(self, names: Sequence[str]) -> Iterator[ScriptCall]:
        for name, failure in zip(names, self._fields(names, "failure"), strict=True):
            context = destinations.failure_context(name.removeprefix(keys.lane(DELIVER, "")))
            if failure and (encrypted := self._reencrypt(_encrypted(failure), context)):
                yield ScriptCall("replace_field", name=name, field="failure", old=failure, new=PREFIX + encrypted)

    def _fields(self, names: Sequence[str], field: str) -> list[str | None]:
        pipeline = self._redis.pipeline(transaction=False)
        for name in names:
            pipeline.hget(name, field)
        return pipeline.execute()

    def _job(self, name: str, field: str, stored: str | None) -> Iterator[ScriptCall]:
        job = json.loads(stored) if stored else None
        changed = job and self._reseal(job, JOB_TEXTS, job_context(job))
        if changed != job:
            yield ScriptCall("replace_field", name=name, field=field, old=stored or "", new=to_json(changed))

    def _reseal(self, fields: Mapping[str, Any], names: Sequence[str], context: str) -> dict[str, Any]:
        """Returns the fields with these texts encrypted with the first key, if they can be decrypted."""
        changed = dict(fields)
        for name in names:
            old = fields.get(PREFIX + name) or (_unencrypted(fields[name]) if fields.get(name) else None)
            encrypted = old and self._reencrypt(old, text_context(context, name))
            if encrypted:
                changed.pop(name, None)
                changed[PREFIX + name] = encrypted
        return changed

    def _reencrypt(self, encrypted: str, context: str) -> str | None:
        self.seen += 1
        if key_of(encrypted) == self._cipher.key_id:
            return None
        try:
            return self._cipher.encrypt(self._cipher.decrypt(encrypted, context), context)
        except OperatorError:
            self.undecryptable[key_of(encrypted)] += 1
            return None


def _unencrypted(text: str) -> str:
    return f"{UNENCRYPTED}.{text}"


def _encrypted(stored: str) -> str:
    """Reads a text from `sealed_values.seal_text`, or from a version that did not encrypt it."""
    return stored.removeprefix(PREFIX) if stored.startswith(PREFIX) else _unencrypted(stored)


def _rewrite(key: str, old: str, new: str) -> ScriptCall:
    return ScriptCall("compare_and_set", name=key, old=old, new=new, **idempotency.NOTHING)
