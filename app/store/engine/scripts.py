"""Runs the scripts in lua/: one a verb, many in one round trip."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import Any

from redis.exceptions import NoScriptError

from app.store.engine.connection import Client, translated
from app.store.engine.replicas import Replicas

Argument = str | int | float
STATEMENT = re.compile(r"^(?=local |function )", re.MULTILINE)  # what a shared part is made of
NAMES = re.compile(r"(?:local )?(?:function )?(\w+(?:\.\w+|(?:, \w+)+)?)")  # that it brings
WORD = re.compile(r"\w+(?:\.\w+)?")


@dataclass(frozen=True, slots=True)
class ScriptCall:
    """A script by name, with its ARGV. heard: is given the answer."""

    script: str
    args: tuple[Argument, ...]
    heard: Callable[[Any], None] | None = field(default=None, compare=False)


class Scripts:
    """replicas: those that must hold what is acknowledged."""

    def __init__(self, redis: Client, replicas: Replicas) -> None:
        self.redis = redis
        self.replicas = replicas

    def run(self, call: ScriptCall) -> Any:
        return self.run_all([call])[0]

    def acknowledge(self, call: ScriptCall) -> Any:
        """As `run`; once it returns the caller may be told, as the replicas hold what was written. Else Unavailable."""
        [[answer]] = self._answers({call.script: [call]}, held=True).values()
        return answer

    def run_all(self, calls: Iterable[ScriptCall]) -> list[Any]:
        """The answers in order, from one round trip; all calls of a script run where the first of them stands.

        An error is raised when the round trip is over; it keeps later calls of the same script from running.
        """
        calls = list(calls)
        batches: dict[str, list[int]] = {}
        for place, call in enumerate(calls):
            batches.setdefault(call.script, []).append(place)
        sent = {script: [calls[place] for place in places] for script, places in batches.items()}
        answers: list[Any] = [None] * len(calls)
        for script, answered in self._answers(sent).items():
            for place, answer in zip(batches[script], answered, strict=True):
                answers[place] = answer
        for call, answer in zip(calls, answers, strict=True):
            if call.heard:
                call.heard(answer)
        return answers

    def _answers(self, batches: Mapping[str, Sequence[ScriptCall]], *, held: bool = False) -> dict[str, list[Any]]:
        answered = self._send(batches, held=held)
        unknown = [script for script, answer in answered.items() if isinstance(answer, NoScriptError)]
        if unknown:
            # A restarted Redis has forgotten the scripts. Those that were not found have changed nothing. Now they go
            # along: this may reach yet another Redis, if the primary is being replaced.
            answered |= self._send({script: batches[script] for script in unknown}, held=held, whole=True)
        for answer in answered.values():
            if isinstance(answer, Exception):
                raise translated(answer)
        return answered

    def _send(self, batches: Mapping[str, Sequence[ScriptCall]], *, held: bool, whole: bool = False) -> dict[str, Any]:
        """By script: the answers, or the error. whole: with the text of the scripts."""
        pipeline = self.redis.pipeline(transaction=False)
        for script, calls in batches.items():
            words = [word for call in calls for word in (len(call.args), *call.args)]
            if whole:
                pipeline.eval(_scripts()[script].source, 0, *words)
            else:
                pipeline.evalsha(_scripts()[script].digest, 0, *words)
        if held:
            answers = self.replicas.execute(pipeline, raise_on_error=False)
        else:
            answers = pipeline.execute(raise_on_error=False)
        return dict(zip(batches, answers, strict=True))


@cache
def _scripts() -> Mapping[str, "_Script"]:
    """Each as a function, behind what it needs of what all share and before the loop that calls it."""
    folder = files("app.store") / "lua"
    parts = {part.name: part.read_text(encoding="utf-8") for part in (folder / "shared").iterdir()}
    *before, after = (parts[name] for name in sorted(parts))
    statements = [statement for part in before for statement in STATEMENT.split(part)[1:]]
    scripts = {}
    subjects = [subject for subject in folder.iterdir() if subject.name != "shared"]
    for file in (file for subject in subjects for file in subject.iterdir()):
        if file.name.endswith(".lua"):
            text = file.read_text(encoding="utf-8")
            # Without the flag, Redis refuses a script once its memory is full, whatever the script does.
            head = "#!lua flags=allow-oom\n" if "-- flags: allow-oom\n" in text else ""
            function = ["local function verb(ARGV)\n", text, "end\n"]
            source = "".join([head, *_needed(statements, text), *function, after])
            scripts[file.name.removesuffix(".lua")] = _Script(source)
    return scripts


class _Script:
    def __init__(self, source: str) -> None:
        self.source = source
        self.digest = sha1(source.encode(), usedforsecurity=False).hexdigest()


def _needed(statements: Sequence[str], text: str) -> list[str]:
    """Those that the text uses, or that one of them uses. Redis makes each function of a script anew at each call: most
    scripts need few of them."""
    places: dict[str, list[int]] = {}
    for place, statement in enumerate(statements):
        for name in NAMES.match(statement)[1].split(", "):  # type: ignore[index] # STATEMENT is more narrow
            places.setdefault(name, []).append(place)
    needed: set[int] = set()
    unread = [text]
    while unread:
        words = WORD.findall(unread.pop())
        used = {place for word in words for name in (word, word.partition(".")[0]) for place in places.get(name, ())}
        unread += (statements[place] for place in used - needed)
        needed |= used
    return [statements[place] for place in sorted(needed)]
