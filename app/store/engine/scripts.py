"""Runs the Lua scripts of app/store/lua: named arguments, many calls in one round trip."""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from hashlib import sha1
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from redis.exceptions import NoScriptError

from app.domain.destination import BOT_MARK, LANE_SEPARATOR
from app.domain.times import LEAP_MARGIN
from app.store.engine import keys
from app.store.engine.client import Client
from app.store.engine.connection import translate
from app.store.engine.replicas import Replicas

Argument = str | int | float
HEADER = re.compile(r"^-- args: (.*(?:\n--       .*)*)", re.MULTILINE)
ITEM = re.compile(r"^-- item: (.*), (.*), (.*)$", re.MULTILINE)
COMMENT = re.compile(r"\([^()]*\)|\n--")  # explanations of arguments, and line continuations
SHARED = "shared"
PARAMETER = re.compile(r"[a-z]\w*(\.\.\.)?")
LIST = "..."  # suffix of an argument that is a list
STATEMENT = re.compile(r"^(?=local |function )", re.MULTILINE)  # splits a shared part into statements
NAMES = re.compile(r"(?:local )?(?:function )?(\w+(?:\.\w+|(?:, \w+)+)?)")  # that a statement defines
WORD = re.compile(r"\w+(?:\.\w+)?")
REMARK = re.compile(r"--.*")  # no string of ours contains `--`
CONSTANTS = {
    "LANE_SEPARATOR": LANE_SEPARATOR,
    "BOT_MARK": BOT_MARK,
    "LEAP_MARGIN_MS": LEAP_MARGIN // timedelta(milliseconds=1),
}


@dataclass(slots=True, init=False)
class ScriptCall:
    """A script with its arguments, named as in its header; a list where the header has `...`.

    Raises TypeError if an argument is missing or unknown. on_reply: called with the script's answer unless it is None.
    """

    script: str
    arguments: list[Argument]
    on_reply: Callable[[Any], None] | None = field(compare=False)

    def __init__(
        self,
        script: str,
        on_reply: Callable[[Any], None] | None = None,
        /,
        **arguments: Argument | Sequence[Argument],
    ) -> None:
        self.script = script
        self.arguments = _scripts()[script].arguments(arguments)
        self.on_reply = on_reply


class Scripts:
    """replicas: must hold the writes of `run_replicated`."""

    def __init__(self, redis: Client, replicas: Replicas) -> None:
        self.redis = redis
        self.replicas = replicas

    def run(self, call: ScriptCall) -> Any:
        return self.run_all([call])[0]

    def run_replicated(self, call: ScriptCall) -> Any:
        """Same as `run`, but returns only when enough replicas hold the write, so that it can be acknowledged.

        Raises Unavailable if they do not in time.
        """
        [[answer]] = self._answers({call.script: [call]}, replicated=True).values()
        return answer

    def run_all(self, calls: Iterable[ScriptCall]) -> list[Any]:
        """Returns the answers in order, from one round trip. All calls of a script run at the position of its first.

        None for a call that could not read its item, if the script's header names that (`-- item: agenda, lane, id`).
        Raises an error after the round trip; it prevents later calls of the same script from running.
        """
        calls = list(calls)
        batches: dict[str, list[int]] = {}
        for index, call in enumerate(calls):
            batches.setdefault(call.script, []).append(index)
        sent = {script: [calls[index] for index in indexes] for script, indexes in batches.items()}
        answers: list[Any] = [None] * len(calls)
        for script, answered in self._answers(sent).items():
            for index, answer in zip(batches[script], answered, strict=True):
                answers[index] = answer
        for call, answer in zip(calls, answers, strict=True):
            if call.on_reply and answer is not None:
                call.on_reply(answer)
        return answers

    def _answers(
        self, batches: Mapping[str, Sequence[ScriptCall]], *, replicated: bool = False
    ) -> dict[str, list[Any]]:
        answered = self._send(batches, replicated=replicated)
        unknown = [script for script, answer in answered.items() if isinstance(answer, NoScriptError)]
        if unknown:
            # A restarted Redis has lost its script cache. Scripts that were not found have changed nothing. They are
            # sent as text: during a failover, SCRIPT LOAD could reach another Redis than the call.
            missing = {script: batches[script] for script in unknown}
            answered |= self._send(missing, replicated=replicated, with_text=True)
        for answer in answered.values():
            if isinstance(answer, Exception):
                raise translate(answer)
        return answered

    def _send(
        self, batches: Mapping[str, Sequence[ScriptCall]], *, replicated: bool, with_text: bool = False
    ) -> dict[str, Any]:
        """Returns the answers, or the error, by script."""
        pipeline = self.redis.pipeline(transaction=False)
        for script, calls in batches.items():
            values = [value for call in calls for value in call.arguments]
            if with_text:
                pipeline.eval(_scripts()[script].source, 0, *values)
            else:
                pipeline.evalsha(_scripts()[script].digest, 0, *values)
        if replicated:
            answers = self.replicas.execute(pipeline, raise_on_error=False)
        else:
            answers = pipeline.execute(raise_on_error=False)
        return dict(zip(batches, answers, strict=True))


class Script:
    """A Lua script: the shared statements that it uses, a function of its named arguments, a loop over the calls."""

    def __init__(self, name: str, text: str, shared: Sequence[str]) -> None:
        self.name = name
        header = HEADER.search(text)
        if not header:
            raise ValueError(f"script {name}: its header needs a line `-- args: …`")
        names = [argument.strip() for argument in COMMENT.sub("", header[1]).split(",")]
        for argument in names:
            if not PARAMETER.fullmatch(argument):
                raise ValueError(f"script {name}: {argument!r} in its line `-- args: …` is not a name")
        self._single = tuple(argument for argument in names if not argument.endswith(LIST))
        self._lists = tuple(argument.removesuffix(LIST) for argument in names[len(self._single) :])
        # Without the flag, a Redis whose memory is full refuses what the script writes (SET, HSET, ZADD, …).
        head = "#!lua flags=allow-oom\n" if "-- flags: allow-oom\n" in text else ""
        parameters = ", ".join(self._single + self._lists)
        item = ITEM.search(text)
        guarded = _guarded(parameters, *item.groups()) if item else ""
        function = f"local function script({parameters})\n{text}end\n{guarded}"
        self.source = "".join(
            [head, *_used(shared, text + guarded), function, self._loop("guarded" if item else "script")]
        )
        self.digest = sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    def arguments(self, arguments: Mapping[str, Any]) -> list[Argument]:
        """Returns the values as `_loop` reads them: each single argument, then each list after its length."""
        try:
            values: list[Argument] = [arguments[name] for name in self._single]
            for name in self._lists:
                items = arguments[name]
                values.append(len(items))
                values += items
        except KeyError as missing:
            raise TypeError(f"script {self.name}: argument {missing} is missing") from None
        if len(arguments) != len(self._single) + len(self._lists):
            unknown = ", ".join(sorted(arguments.keys() - {*self._single, *self._lists}))
            raise TypeError(f"script {self.name}: unknown argument {unknown}")
        return values

    def _loop(self, function: str) -> str:
        """Returns Lua that runs the function once for each call and returns the answers."""
        count = len(self._single)
        singles = [f"ARGV[at + {index}]" for index in range(count)]
        lists = "".join(f"  local {name} = list()\n" for name in self._lists)
        call = f"{function}({', '.join([*singles, *self._lists])})"
        if not self._lists:
            return (
                "local answers = {}\n"
                f"for at = 1, #ARGV, {count} do answers[#answers + 1] = {call} or false end\n"
                "return answers\n"
            )
        return (
            "local answers, at, behind = {}, 1, 1\n"
            "local function list()\n"
            "  local values, length = {}, tonumber(ARGV[behind])\n"
            "  for i = 1, length do values[i] = ARGV[behind + i] end\n"
            "  behind = behind + 1 + length\n"
            "  return values\n"
            "end\n"
            "while ARGV[at] do\n"
            f"  behind = at + {count}\n"
            f"{lists}"
            f"  answers[#answers + 1] = {call} or false\n"
            "  at = behind\n"
            "end\n"
            "return answers\n"
        )


def _guarded(parameters: str, agenda: str, lane: str, id: str) -> str:
    """Returns Lua that runs the script for an item of an agenda, which is given up if it cannot be read."""
    return (
        f"local function guarded({parameters})\n"
        f"  return guard.item({id}, function() return script({parameters}) end,\n"
        f"    function() agenda.remove({agenda}, {lane}, {id}) end)\n"
        "end\n"
    )


@cache
def _scripts() -> Mapping[str, Script]:
    shared = shared_statements()
    folders = [folder for folder in (files("app.store") / "lua").iterdir() if folder.name != SHARED]
    return {name: Script(name, text, shared) for folder in folders for name, text in _files(folder)}


def shared_statements() -> list[str]:
    """Returns the statements of the generated parts, then of the files in `shared`, in order of their names."""
    shared = sorted(_files(files("app.store") / "lua" / SHARED))
    parts = [_keys(), _constants(), *(text for _, text in shared)]
    return [statement for part in parts for statement in STATEMENT.split(part)[1:]]


def _files(folder: Traversable) -> list[tuple[str, str]]:
    """Returns names and texts."""
    return [(file.name.removesuffix(".lua"), file.read_text(encoding="utf-8")) for file in folder.iterdir()]


def _keys() -> str:
    """Returns the functions of keys.py in Lua: `key.<name>`."""
    lines = ["local key = {}\n"]
    for name, function in inspect.getmembers(keys, inspect.isfunction):
        parameters = list(inspect.signature(function).parameters)
        pattern = function(*(f"\0{parameter}\0" for parameter in parameters))
        parts = [part if index % 2 else f"'{part}'" for index, part in enumerate(pattern.split("\0"))]
        expression = " .. ".join(part for part in parts if part != "''")
        lines.append(f"function key.{name}({', '.join(parameters)}) return {expression} end\n")
    return "".join(lines)


def _constants() -> str:
    lines = [f"constant.{name} = '{value}'\n" for name, value in CONSTANTS.items()]
    return "".join(["local constant = {}\n", *lines])


def _used(statements: Sequence[str], text: str) -> list[str]:
    """Returns the statements that the text uses, directly or through other statements. Redis creates each function of a
    script at each call, and most scripts need few of them."""
    indexes: dict[str, list[int]] = {}
    for index, statement in enumerate(statements):
        for name in NAMES.match(statement)[1].split(", "):  # type: ignore[index] # every STATEMENT matches
            indexes.setdefault(name, []).append(index)
    used: set[int] = set()
    unread = [text]
    while unread:
        words = WORD.findall(REMARK.sub("", unread.pop()))
        new = {index for word in words for name in (word, word.partition(".")[0]) for index in indexes.get(name, ())}
        unread += (statements[index] for index in new - used)
        used |= new
    return [statements[index] for index in sorted(used)]
