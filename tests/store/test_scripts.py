"""Scripts: their named arguments, and what they have in common with Python."""

import inspect
import re
from collections.abc import Callable

import pytest
from redis.exceptions import ResponseError

from app.bootstrap.stores import Stores
from app.store.agenda import Agenda
from app.store.engine import keys, scripts
from app.store.engine.scripts import ScriptCall
from tests.support.claims import claim_due

KEYS = [function for _, function in inspect.getmembers(keys, inspect.isfunction)]


@pytest.fixture
def evaluate(stores: Stores) -> Callable[..., str]:
    """Evaluates a Lua expression after all shared statements. `arguments` become ARGV."""
    shared = "".join(scripts.shared_statements())

    def evaluated(expression: str, *arguments: str) -> str:
        answer: str = stores.redis.eval(f"{shared}\nreturn {expression}", 0, *arguments)
        return answer

    return evaluated


@pytest.mark.parametrize("function", KEYS, ids=lambda function: function.__name__)
def test_scripts_and_python_name_keys_alike(evaluate, function: Callable[..., str]) -> None:
    arguments = [f"arg{number}" for number in range(function.__code__.co_argcount)]
    argv = ", ".join(f"ARGV[{number + 1}]" for number in range(len(arguments)))
    assert evaluate(f"key.{function.__name__}({argv})", *arguments) == function(*arguments)


def test_a_delivery_that_is_made_anew_has_the_same_id_and_no_other_has(evaluate) -> None:
    delivery_id = "ending.delivery_id(ARGV[1], ARGV[2], ARGV[3])"
    registration = "reg_01kdyak348zzzzzzzzzzzzzzzz"
    assert evaluate(delivery_id, registration, "job", "lost") == "dlv_01kdyak3489a4384dd55d4999c"
    ends = [(registration, "job", "failed"), (registration, "other", "lost"), (registration, "", "finished")]
    assert len({evaluate(delivery_id, *end) for end in ends}) == len(ends)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"id": "k"}, "script use_key: argument 'now' is missing"),
        ({"id": "k", "now": 1, "then": 2, "also": 3}, "script use_key: unknown argument also, then"),
    ],
)
def test_arguments_that_a_script_does_not_take_are_refused_when_the_call_is_built(arguments, message: str) -> None:
    with pytest.raises(TypeError, match=f"^{message}$"):
        ScriptCall("use_key", **arguments)


def test_a_script_without_a_header_is_refused() -> None:
    with pytest.raises(ValueError, match="script nameless: its header needs a line `-- args"):
        scripts.Script("nameless", "return 1\n", [])


@pytest.mark.parametrize("header", ["one, two words", "one, Two", "one,"])
def test_an_argument_that_is_no_name_is_refused(header: str) -> None:
    with pytest.raises(ValueError, match=r"script named: '.*' in its line `-- args: …` is not a name"):
        scripts.Script("named", f"-- args: {header}\nreturn one\n", [])


@pytest.mark.parametrize("name", sorted(scripts._scripts()))
def test_a_script_uses_each_of_its_arguments(name: str) -> None:
    script = scripts._scripts()[name]
    _, _, function = script.source.partition("local function script(")
    _, _, body = function.partition(")\n")
    body, _, _ = body.partition("\nlocal answers")  # the loop names them all again
    for argument in (*script._single, *script._lists):
        assert re.search(rf"^(?!--).*\b{argument}\b", body, re.MULTILINE), argument


def test_single_arguments_and_lists_reach_a_script_by_name(stores: Stores) -> None:
    header = "-- Returns its arguments.\n-- args: one (a; b),\n--       two, many..., more... (pairs)\n"
    script = scripts.Script("echo", f"{header}return {{one, two, #many, many[1] or '', more[2] or ''}}\n", [])
    calls = [
        {"one": "a", "two": "b", "many": ["c"], "more": ["d", "e"]},
        {"one": "f", "two": "g", "many": [], "more": ["h"]},
    ]
    argv = [argument for call in calls for argument in script.arguments(call)]
    assert stores.redis.eval(script.source, 0, *argv) == [["a", "b", 1, "c", "e"], ["f", "g", 0, "", ""]]


def test_a_redis_that_has_forgotten_the_scripts_is_given_them_again(stores: Stores, now) -> None:
    agenda = stores.deliveries_due
    claims = [agenda.claim(now, 1), agenda.pause("a", now), agenda.claim(now, 1)]
    for _ in range(2):
        stores.redis.script_flush()
        answers = stores.scripts.run_all(claims)
        assert [Agenda.claimed(answer) for answer in (answers[0], answers[2])] == [(), ()]


def test_a_script_that_redis_does_not_know_goes_along_with_the_next_try(stores: Stores, now) -> None:
    """The retry is an EVAL: a SCRIPT LOAD ahead of it might reach another Redis during a failover."""
    stores.redis.script_flush()
    stores.redis.config_resetstat()
    claim_due(stores.deliveries_due, now, 1)
    called = {name: stats["calls"] for name, stats in stores.redis.info("commandstats").items()}
    assert (called["cmdstat_evalsha"], called["cmdstat_eval"]) == (1, 1)
    assert "cmdstat_script|load" not in called


def test_a_bug_is_not_taken_for_a_redis_that_is_unavailable(stores: Stores) -> None:
    with pytest.raises(ResponseError):
        stores.scripts.run(ScriptCall("record_heartbeat", now=1, ticks="some", overdue=0))
