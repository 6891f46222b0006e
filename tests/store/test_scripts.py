"""Scripts, and the names they share with Python."""

import re
from importlib.resources import files

import pytest
from redis.exceptions import ResponseError

from app.bootstrap.runtime import Runtime
from app.store.agenda import Agenda
from app.store.engine import keys
from app.store.engine.scripts import ScriptCall

SHARED_KEYS = (files("app.store") / "lua" / "shared" / "1_keys.lua").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", re.findall(r"function key\.(\w+)", SHARED_KEYS))
def test_scripts_and_python_name_keys_alike(runtime: Runtime, name: str) -> None:
    function = getattr(keys, name)
    args = [f"arg{number}" for number in range(function.__code__.co_argcount)]
    places = ", ".join(f"ARGV[{number + 1}]" for number in range(len(args)))
    assert runtime.redis.eval(f"{SHARED_KEYS}\nreturn key.{name}({places})", 0, *args) == function(*args)


def test_a_delivery_that_is_made_anew_has_the_same_id_and_no_other_has(runtime: Runtime) -> None:
    folder = files("app.store") / "lua" / "shared"
    shared = "".join(
        (folder / name).read_text(encoding="utf-8") for name in ("1_keys.lua", "2_agenda.lua", "3_ending.lua")
    )
    name = f"{shared}\nreturn ending.delivery_id(ARGV[1], ARGV[2], ARGV[3])"
    registration = "reg_01kdyak348zzzzzzzzzzzzzzzz"
    assert runtime.redis.eval(name, 0, registration, "job", "lost") == "dlv_01kdyak3489a4384dd55d4999c"
    ends = [(registration, "job", "failed"), (registration, "other", "lost"), (registration, "", "finished")]
    assert len({runtime.redis.eval(name, 0, *end) for end in ends}) == len(ends)


def test_every_script_says_what_it_takes() -> None:
    for script in (files("app.store") / "lua").iterdir():
        if script.name.endswith(".lua"):
            head = script.read_text(encoding="utf-8").split("local ")[0]
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


def test_a_script_that_redis_does_not_know_goes_along_with_the_next_try(runtime: Runtime, now) -> None:
    """Not ahead of it, by a way that may lead to another Redis while the primary is being replaced."""
    runtime.redis.script_flush()
    runtime.redis.config_resetstat()
    runtime.deliveries_due.claim_due(now, 1)
    called = {name: about["calls"] for name, about in runtime.redis.info("commandstats").items()}
    assert (called["cmdstat_evalsha"], called["cmdstat_eval"]) == (1, 1)
    assert "cmdstat_script|load" not in called


def test_a_mistake_of_ours_is_not_taken_for_a_redis_that_is_away(runtime: Runtime) -> None:
    with pytest.raises(ResponseError):
        runtime.scripts.run(ScriptCall("claim", ("deliver",)))
