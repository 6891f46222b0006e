"""Scripts, and the names they share with Python."""

import re
from importlib.resources import files

import pytest
from redis.exceptions import ResponseError

from app.domain.ids import delivery_id, event_id
from app.runtime import Runtime
from app.store import keys
from app.store.agenda import Agenda
from app.store.scripts import Call

SHARED_KEYS = (files("app.store") / "lua" / "shared" / "1_keys.lua").read_text()


@pytest.mark.parametrize("name", re.findall(r"function key\.(\w+)", SHARED_KEYS))
def test_scripts_and_python_name_keys_alike(runtime: Runtime, name: str) -> None:
    function = getattr(keys, name)
    args = [f"arg{number}" for number in range(function.__code__.co_argcount)]
    places = ", ".join(f"ARGV[{number + 1}]" for number in range(len(args)))
    assert runtime.redis.eval(f"{SHARED_KEYS}\nreturn key.{name}({places})", 0, *args) == function(*args)


def test_scripts_and_python_name_deliveries_alike(runtime: Runtime) -> None:
    folder = files("app.store") / "lua" / "shared"
    shared = "".join((folder / name).read_text() for name in ("1_keys.lua", "2_agenda.lua", "3_ending.lua"))
    end = ("reg_" + "7" * 26, "j", "lost")
    made = runtime.redis.eval(f"{shared}\nreturn ending.delivery_id(ARGV[1], ARGV[2], ARGV[3])", 0, *end)
    assert made == delivery_id(event_id(*end))


def test_every_script_says_what_it_takes() -> None:
    for script in (files("app.store") / "lua").iterdir():
        if script.name.endswith(".lua"):
            head = script.read_text().split("local ")[0]
            assert head.startswith("-- "), script.name
            assert "-- ARGV: " in head, script.name


def test_a_redis_that_has_forgotten_the_scripts_is_given_them_again(runtime: Runtime, now) -> None:
    agenda = runtime.deliveries_due
    agenda.claim_due(now, 1)
    runtime.redis.script_flush()
    agenda.claim_due(now, 1)
    runtime.redis.script_flush()
    answers = runtime.scripts.run_all([agenda.claim(now, 1), agenda.pause("a", now), agenda.claim(now, 1)])
    assert [Agenda.claimed(answer).items for answer in (answers[0], answers[2])] == [(), ()]


def test_a_mistake_of_ours_is_not_taken_for_a_redis_that_is_away(runtime: Runtime) -> None:
    with pytest.raises(ResponseError):
        runtime.scripts.run(Call("claim", ("deliver",)))
