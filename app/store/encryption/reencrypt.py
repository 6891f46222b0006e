"""Re-encrypts stored data with the first key, page by page, while the bridge runs."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from app.domain.errors import OperatorError
from app.domain.wire import to_json
from app.store import idempotency, registrations
from app.store.encryption.cipher import Cipher, key_of
from app.store.engine import keys
from app.store.engine.scripts import ScriptCall, Scripts

PAGE = 500


class Reencryption:
    """One pass over registrations and stored responses; not over CPH tokens, whose loss costs one login.

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
            fields = json.loads(record)
            encrypted = self._reencrypt(fields["sealed"], registrations.context(tenant, id))
            if encrypted:
                yield _rewrite(keys.registration(id), record, to_json(fields | {"sealed": encrypted}))

    def _answers(self, names: Sequence[str]) -> Iterator[ScriptCall]:
        for name, value in zip(names, self._redis.mget(names) if names else (), strict=True):
            _, _, tenant, key_digest = name.split(":")
            if value and (encrypted := self._reencrypt(value, idempotency.context(tenant, key_digest))):
                yield _rewrite(name, value, encrypted)

    def _reencrypt(self, encrypted: str, context: str) -> str | None:
        self.seen += 1
        if key_of(encrypted) == self._cipher.key_id:
            return None
        try:
            return self._cipher.encrypt(self._cipher.decrypt(encrypted, context), context)
        except OperatorError:
            self.undecryptable[key_of(encrypted)] += 1
            return None


def _rewrite(key: str, old: str, new: str) -> ScriptCall:
    return ScriptCall("compare_and_set", name=key, old=old, new=new, **idempotency.NOTHING)
