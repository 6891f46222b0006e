"""Runs the scripts in lua/: one a verb, many in one round trip."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha1
from importlib.resources import files
from typing import Any

from redis.exceptions import NoScriptError, ResponseError

from app.store.connection import Client, translated

Argument = str | int | float
MAJOR_WITH_FLAGS = 7  # Redis 7 brought `#!lua flags=…`; before it, a script over maxmemory is refused whatever it does


@dataclass(frozen=True, slots=True)
class Call:
    """A script by name, with its ARGV."""

    script: str
    args: tuple[Argument, ...]


class Scripts:
    def __init__(self, redis: Client) -> None:
        self.redis = redis

    def run(self, call: Call) -> Any:
        return self.run_all([call])[0]

    def run_all(self, calls: Iterable[Call]) -> list[Any]:
        """The answers in order, from one round trip; the first error is raised after all have run."""
        calls = list(calls)
        answers = self._send(calls)
        unknown = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            # A restarted Redis has forgotten the scripts. Those that were not found have changed nothing.
            for name in {calls[i].script for i in unknown}:
                self.redis.script_load(self._sources[name])
            for i, answer in zip(unknown, self._send([calls[i] for i in unknown]), strict=True):
                answers[i] = answer
        for answer in answers:
            if isinstance(answer, Exception):
                raise translated(answer)
        return answers

    def _send(self, calls: list[Call]) -> list[Any]:
        if len(calls) == 1:
            try:
                return [self.redis.evalsha(self._digests[calls[0].script], 0, *calls[0].args)]
            except ResponseError as error:  # NoScriptError is one
                return [error]
        pipeline = self.redis.pipeline(transaction=False)
        for call in calls:
            pipeline.evalsha(self._digests[call.script], 0, *call.args)
        answers: list[Any] = pipeline.execute(raise_on_error=False)
        return answers

    @cached_property
    def _sources(self) -> dict[str, str]:
        """Each script behind what all share."""
        folder = files("app.store") / "lua"
        shared = "".join(part.read_text() for part in sorted((folder / "shared").iterdir(), key=lambda part: part.name))
        flags = int(self.redis.info("server")["redis_version"].split(".")[0]) >= MAJOR_WITH_FLAGS
        sources = {}
        for file in folder.iterdir():
            if file.name.endswith(".lua"):
                text = file.read_text()
                head = "#!lua flags=allow-oom\n" if flags and "-- flags: allow-oom\n" in text else ""
                sources[file.name.removesuffix(".lua")] = head + shared + text
        return sources

    @cached_property
    def _digests(self) -> dict[str, str]:
        return {name: sha1(text.encode(), usedforsecurity=False).hexdigest() for name, text in self._sources.items()}
