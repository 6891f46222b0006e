"""Creating and reading ids."""

from hypothesis import given
from hypothesis import strategies as st

from app.domain import ids

times_ms = st.integers(0, 2**48 - 1)
random_numbers = st.integers(0, 2**ids.RANDOM_BITS - 1)


@given(earlier=times_ms, later=times_ms, random_number=random_numbers, another=random_numbers)
def test_ids_sort_by_age(earlier: int, later: int, random_number: int, another: int) -> None:
    if earlier < later:
        assert ids.new_id("reg", earlier, random_number) < ids.new_id("reg", later, another)


def test_an_id_has_a_prefix_and_twenty_six_characters() -> None:
    assert ids.new_id("reg", 0, 0) == "reg_" + "0" * 26
    assert ids.new_id("att", 1_767_323_045_000, 2**80 - 1) == "att_01kdyak348zzzzzzzzzzzzzzzz"


@given(times_ms, random_numbers)
def test_an_id_tells_when_it_was_made(time_ms: int, random_number: int) -> None:
    assert ids.created_ms(ids.new_id("reg", time_ms, random_number)) == time_ms


def test_an_event_is_named_as_its_delivery() -> None:
    assert ids.event_id("dlv_01kdyak348zzzzzzzzzzzzzzzz") == "evt_01kdyak348zzzzzzzzzzzzzzzz"
