"""Ids."""

from hypothesis import given
from hypothesis import strategies as st

from app.domain import ids

moments = st.integers(0, 2**48 - 1)
chances = st.integers(0, 2**ids.RANDOM_BITS - 1)


@given(earlier=moments, later=moments, chance=chances, other=chances)
def test_ids_sort_by_age(earlier: int, later: int, chance: int, other: int) -> None:
    if earlier < later:
        assert ids.new_id("reg", earlier, chance) < ids.new_id("reg", later, other)


def test_an_id_has_a_prefix_and_twenty_six_characters() -> None:
    assert ids.new_id("reg", 0, 0) == "reg_" + "0" * 26
    assert ids.new_id("att", 1_767_323_045_000, 2**80 - 1) == "att_01kdyak348zzzzzzzzzzzzzzzz"


@given(moments, chances)
def test_an_id_tells_when_it_was_made(moment: int, chance: int) -> None:
    assert ids.created_ms(ids.new_id("reg", moment, chance)) == moment


def test_an_event_is_named_as_its_delivery() -> None:
    assert ids.event_id("dlv_01kdyak348zzzzzzzzzzzzzzzz") == "evt_01kdyak348zzzzzzzzzzzzzzzz"
