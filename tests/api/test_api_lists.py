"""The list of registrations: pages, filters and invalid queries."""

from typing import Any

import pytest

from app.api.schemas.fields import encode_cursor
from tests.support.api_client import ApiCaller, problem


def pages(api: ApiCaller, query: str) -> list[list[str]]:
    """The ids on each page, to the last page."""
    found, cursor = [], ""
    while cursor is not None:
        page = api.get(f"/v1/registrations?{query}{cursor and '&cursor=' + cursor}")
        found.append([item["id"] for item in page["items"]])
        cursor = page["next_cursor"]
    return found


def ids(api: ApiCaller, query: str) -> set[str]:
    return {id for page in pages(api, query) for id in page}


def test_pages_go_from_new_to_old_and_end(api: ApiCaller) -> None:
    registered = sorted((api.registered()["id"] for _ in range(5)), reverse=True)
    assert pages(api, "limit=2") == [registered[:2], registered[2:4], registered[4:]]
    assert pages(api, "") == [registered]


def test_filters_leave_out_what_does_not_fit(api: ApiCaller) -> None:
    one = api.registered(job_id="one")["id"]
    two = api.registered(job_id=None, job_ids=["one", "two"])["id"]
    api.call("DELETE", f"/v1/registrations/{one}")
    assert ids(api, "job_id=one") == {one, two}
    assert ids(api, "job_id=two") == {two}
    assert ids(api, "state=cancelled") == {one}
    assert ids(api, "state=watching&project=default") == {two}
    assert ids(api, "project=other") == set()


@pytest.mark.parametrize("path", ["/v1/registrations", "/v1/deliveries"])
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("limit", ["0", "201", "x", "", "1.5"]),
        ("cursor", ["", "x", "====", encode_cursor("reg_x"), encode_cursor("Zoë")]),
        ("state", ["", "gone"]),
        ("unknown", ["1"]),
    ],
)
def test_a_wrong_query_is_pointed_at(api: ApiCaller, path: str, name: str, values: list[str]) -> None:
    for value in values:
        answer = problem(api.call("GET", f"{path}?{name}={value}"), 422)
        assert [error["pointer"] for error in answer["errors"]] == [f"/query/{name}"], value


def test_a_cursor_of_one_list_is_none_of_another(api: ApiCaller) -> None:
    for _ in range(2):
        api.registered()
    cursor: Any = api.get("/v1/registrations?limit=1")["next_cursor"]
    problem(api.call("GET", f"/v1/deliveries?cursor={cursor}"), 422)
