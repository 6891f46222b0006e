"""JSON that others wrote is read as far as it can be."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.foreign_json import MAX_ATTEMPTS, DamagedText, exact_text, integer, read_object, read_value, text

PIECES = [b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\", b"x", b"\xb0", b"\xe8\xbe", b"\x00", b"\n", b" ", b'"a":"']
JUNK = st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join)


def decided(body):
    fields = read_object(body)
    return exact_text(fields.get("job_id")), integer(fields.get("status"))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"job_id":"J","status":2,"execute_msg":"\xe8\xbe\x93\xe5\x87"}', id="cut inside a character"),
        pytest.param(b'{"job_id":"J","status":2,"execute_msg":"a\tb\nc\x1b[0m\x00"}', id="raw control characters"),
        pytest.param(b'{"job_id":"J","error_msg":"\xb0\xb2\xb0\x5c","status":2}', id="GBK that ends in a backslash"),
        pytest.param(b'{"job_id":"J","execute_msg":"a"b"c\\x","status":2}', id="unescaped quotes, unknown escape"),
        pytest.param(b'{"job_id":"J","status":2,"execute_msg":"yyyy', id="cut short"),
        pytest.param(b'{"job_id":"J","execute_msg":' + b"[" * 100_000 + b',"status":2}', id="nested too deep"),
        pytest.param(b'{"job_id":"J","execute_msg":' + b"1" * 5_000 + b',"status":2}', id="more digits than int takes"),
        pytest.param(b'{"job_id":"J","status":2,"x":NaN}', id="NaN"),
        pytest.param(b'{"job_id":"J","x":{"status":1,},"status":2,}', id="trailing commas"),
        pytest.param(b'{"job_id":"J","status":2}<!-- ok -->', id="more behind it"),
        pytest.param(b'\xef\xbb\xbf{"job_id":"J","status":2}', id="byte order mark"),
        pytest.param('{"job_id":"J","status":2}'.encode("utf-16"), id="UTF-16"),
    ],
)
def test_what_surrounds_the_deciding_fields_does_not_hide_them(body):
    assert decided(body) == ("J", 2)


@given(JUNK, JUNK)
def test_no_bytes_around_the_deciding_fields_change_them(before, behind):
    assert decided(b'{"e":"' + before + b'","job_id":"J","status":2,"f":"' + behind + b'"}') == ("J", 2)


@pytest.mark.parametrize("at", range(len(b'{"job_id":"J"'), 60))
def test_a_text_that_is_cut_anywhere_has_the_right_fields_or_none(at):
    body = b'{"job_id":"J","status":22,"error_msg":"x","execute_msg":"y"}'
    job_id, status = decided(body[:at])
    assert job_id == "J"
    assert status == (22 if at > len(b'{"job_id":"J","status":22') else None)


def test_a_number_in_a_text_that_is_cut_short_is_none():
    assert decided(b'{"job_id":"J","status":"2') == ("J", None)


@given(JUNK)
def test_a_damaged_record_of_a_list_costs_itself(junk):
    body = b'{"jobs":[{"id":"A"},{"id":"B","e":"' + junk + b'"},{"id":"C"},{"id":"D"}],"request_id":"R"}'

    ids = [record.get("id") for record in read_object(body)["jobs"] if isinstance(record, dict)]

    assert [id for id in ids if id not in ("B", None)] == ["A", "C", "D"]


@given(st.binary(max_size=200))
def test_anything_is_read_as_an_object_or_as_none(body):
    assert isinstance(read_object(body), dict)


@given(st.dictionaries(st.text(max_size=10), st.text() | st.integers() | st.none() | st.booleans()))
def test_valid_json_is_read_as_it_is(value):
    assert read_object(json.dumps(value).encode()) == value


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1, 2]", b'"text"', b"\xff\xfe", b"{", b"null"])
def test_what_is_no_object_has_no_fields(body):
    assert read_object(body) == {}


def test_what_is_no_json_has_no_value():
    with pytest.raises(ValueError, match="Expecting value"):
        read_value(b"<html>")


def test_a_text_before_the_damage_counts_before_one_behind_it():
    assert decided(b'{"job_id":"J","status":2,"e":"\\q","status":1,"x":""}') == ("J", 2)


@pytest.mark.parametrize(
    "item", [b'{"job_id":"A","status":2,"e":"\\q"},', b"[x,", b'"x" y,', b"}{", b'"a":{', b'"a":"x" y,']
)
def test_a_large_damaged_text_takes_a_limited_number_of_attempts(item):
    # A quadratic reader needs minutes for this: the suite's time limit would end it.
    assert isinstance(read_object(b'{"jobs":[' + item * (100 * MAX_ATTEMPTS // len(item))), dict)


@pytest.mark.parametrize("value", [2, 2.0, "2", " 2 ", "2.0", "+2", "2e0"])
def test_every_spelling_of_a_number_is_the_number(value):
    assert integer(value) == 2


@pytest.mark.parametrize(
    "value", [None, True, 2.5, "two", "", "2 2", [2], float("nan"), float("inf"), 1e300, "true", "[" * 10_000]
)
def test_what_is_no_integer_is_none(value):
    assert integer(value) is None


def test_half_a_surrogate_pair_is_replaced():
    assert text("a\ud800b") == "a?b"


@pytest.mark.parametrize("value", [None, "", " ", 5, DamagedText("J"), "J\ufffd"])
def test_ids_codes_and_tokens_are_exact_or_none(value):
    assert exact_text(value) is None


def test_spaces_around_an_id_are_no_part_of_it():
    assert exact_text(" J ") == "J"
