"""Writes with the first key what other keys have sealed, page by page, while everything runs."""

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
    """One walk over registrations and kept answers. A CPH token that does not open costs one login: it is left out.

    seen, rewritten: how many so far. closed: by id of the key, those that did not open.
    """

    def __init__(self, scripts: Scripts, sealer: Cipher) -> None:
        self._scripts = scripts
        self._redis = scripts.redis
        self._sealer = sealer
        self.seen = 0
        self.rewritten = 0
        self.closed: Counter[str] = Counter()

    def pages(self) -> Iterator[None]:
        """Works as it is iterated over."""
        yield from self._walk(keys.registration("reg_*"), self._registrations)
        yield from self._walk(keys.idempotency("*", "*"), self._answers)

    def _walk(self, pattern: str, anew: Callable[[Sequence[str]], Iterator[ScriptCall]]) -> Iterator[None]:
        cursor = None
        while cursor != 0:
            cursor, names = self._redis.scan(cursor or 0, match=pattern, count=PAGE)
            # What has changed meanwhile is not written: whoever changed it has sealed it.
            self.rewritten += sum(self._scripts.run_all(anew(names)))
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
            sealed = self._anew(fields["sealed"], registrations.context(tenant, id))
            if sealed:
                yield _rewrite(keys.registration(id), record, to_json(fields | {"sealed": sealed}))

    def _answers(self, names: Sequence[str]) -> Iterator[ScriptCall]:
        for name, value in zip(names, self._redis.mget(names) if names else (), strict=True):
            _, _, tenant, key_digest = name.split(":")
            if value and (sealed := self._anew(value, idempotency.context(tenant, key_digest))):
                yield _rewrite(name, value, sealed)

    def _anew(self, sealed: str, place: str) -> str | None:
        self.seen += 1
        if key_of(sealed) == self._sealer.key_id:
            return None
        try:
            return self._sealer.encrypt(self._sealer.decrypt(sealed, place), place)
        except OperatorError:
            self.closed[key_of(sealed)] += 1
            return None


def _rewrite(key: str, read: str, anew: str) -> ScriptCall:
    return ScriptCall("compare_and_set", name=key, old=read, new=anew, **idempotency.NOTHING)
