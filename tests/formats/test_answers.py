"""The tables of answers in docs/formats.md, against the code."""

import json
import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.verdict import Verdict
from app.formats.format import AnswerVerdict, Format, ServiceAnswer
from app.formats.registry import BY_NAME, FORMATS
from tests.support.paths import DOCS

EXAMPLE = re.compile(r"`([1-5][0-9]{2})(?: ([^`]*))?`")
CHAT = [form for form in FORMATS if not form.machine]
COLUMNS = ("yes", "no", "overloaded", "malformed")
# By the beginning of the row.
OTHERS = {
    "2xx:": "unusual yes",
    "2xx with a no": "no",
    "may have arrived": "doubtful",
    "other 5xx": "retry",
    "`410`": "gone",
    "form refused": "malformed",
    "other 3xx": "no",
}


def rows() -> Iterator[list[str]]:
    for line in (DOCS / "formats.md").read_text(encoding="utf-8").partition("## Answers")[2].splitlines():
        if line.startswith("|"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def own_answers() -> Iterator[tuple[Format, str, str, str]]:
    for name, *cells in rows():
        if form := BY_NAME.get(name.strip("`")):
            for kind, cell in zip(COLUMNS, cells, strict=True):
                yield from ((form, kind, status, body) for status, body in EXAMPLE.findall(cell))


def other_answers() -> Iterator[tuple[str, str, str]]:
    for cell, *_ in rows():
        if kind := next((OTHERS[begin] for begin in OTHERS if cell.startswith(begin)), None):
            yield from ((kind, status, body) for status, body in EXAMPLE.findall(cell))


def kind_of(found: AnswerVerdict) -> str:
    if found.verdict is Verdict.DELIVERED:
        return "unusual yes" if "taken as delivered" in (found.service_message or "") else "yes"
    if found.verdict is Verdict.RETRY:
        return "overloaded" if found.overloaded else "doubtful" if found.maybe_delivered else "retry"
    if found.verdict is Verdict.GONE:
        return "gone"
    return "malformed" if found.malformed else "no"


def judged(form: Format, status: str, body: str) -> str:
    return kind_of(form.judge(ServiceAnswer(int(status), {}, body.encode())))


@pytest.mark.parametrize(("form", "kind", "status", "body"), list(own_answers()))
def test_an_answer_of_a_service_is_understood_as_documented(form: Format, kind: str, status: str, body: str) -> None:
    assert judged(form, status, body) == kind


@pytest.mark.parametrize(("kind", "status", "body"), list(other_answers()))
@pytest.mark.parametrize("form", CHAT, ids=lambda form: form.name)
def test_any_other_answer_is_understood_as_documented(form: Format, kind: str, status: str, body: str) -> None:
    found = judged(form, status, body)
    if kind == "no":
        assert found in ("no", "malformed")  # `success: false` is Rocket.Chat's own
    elif kind == "unusual yes":
        assert found in ("yes", "unusual yes")
    else:
        assert found == kind


def test_each_chat_format_has_a_row_and_each_row_has_examples() -> None:
    own = list(own_answers())
    assert {(form.name, kind) for form, kind, *_ in own} == {(form.name, kind) for form in CHAT for kind in COLUMNS}
    assert {kind for kind, *_ in other_answers()} == set(OTHERS.values())


NAMES = st.sampled_from(
    [
        *(
            "ok",
            "success",
            "result",
            "status",
            "code",
            "errcode",
            "StatusCode",
            "error",
            "errors",
            "message",
            "msg",
            "id",
        ),
        *(
            "errmsg",
            "description",
            "error_code",
            "parameters",
            "retry_after",
            "migrate_to_chat_id",
            "name",
            "statusCode",
        ),
    ]
)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.sampled_from(["0", "false"])
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3))
JSON = st.dictionaries(NAMES, VALUES, max_size=5).map(lambda value: json.dumps(value).encode())


@pytest.mark.parametrize("form", CHAT, ids=lambda form: form.name)
@given(status=st.integers(200, 299), body=st.binary(max_size=99) | JSON | st.tuples(JSON, st.binary()).map(b"".join))
def test_a_message_that_was_answered_by_2xx_is_never_posted_again_and_again(
    form: Format, status: int, body: bytes
) -> None:
    found = form.judge(ServiceAnswer(status, {}, body, "https://bot.example/bot1:a?chat_id=-5"))
    # Unless the service has said that it refused the message: for its rate, for its own trouble, or for the chat's id.
    refused = found.overloaded or found.url or re.search(rb"[45][0-9]{2}|retry_after|errcode|error", body)
    assert found.verdict is not Verdict.RETRY or found.maybe_delivered or refused


@pytest.mark.parametrize("form", CHAT, ids=lambda form: form.name)
@given(status=st.integers(100, 999), body=st.binary(max_size=99) | JSON)
def test_no_answer_is_a_surprise(form: Format, status: int, body: bytes) -> None:
    found = form.judge(ServiceAnswer(status, {}, body, "https://bot.example/bot1:a?chat_id=-5"))
    assert not (found.malformed and found.maybe_delivered and found.verdict is Verdict.REFUSED)
