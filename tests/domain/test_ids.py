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


def test_the_same_end_of_the_same_job_has_the_same_event_id() -> None:
    registration = ids.new_id("reg", 1_767_323_045_000, 7)
    first = ids.event_id(registration, "job", "succeeded")
    assert ids.event_id(registration, "job", "succeeded") == first
    assert ids.event_id(registration, "job", "failed") != first
    assert ids.event_id(registration, "other", "succeeded") != first
    assert ids.delivery_id(first) == "dlv_" + first[4:]
