"""A registration whose key is missing, by the API: shown as far as it can be, and no reason to hide others."""

from dataclasses import replace

import pytest

from app.store.encryption.cipher import Cipher
from app.store.registrations import Registrations
from tests.api.test_api_events import end
from tests.support.api_client import ApiCaller, problem


@pytest.fixture
def unopened(api: ApiCaller) -> str:
    """Id of a registration that was sealed with a key which is gone; one before it and one after it are as usual."""
    runtime = api.runtime
    api.registered(job_id="before")
    lost = api.registered(job_id="unopened", metadata={"room": "ops"}, headers={"X-Key": "canary"})["id"]
    api.registered(job_id="after")
    known = runtime.stores.registrations.get("default", lost)
    assert known
    gone = Registrations(
        runtime.stores.scripts,
        Cipher({"gone": bytes(32)}),
        runtime.stores.gone_urls,
        retention=runtime.settings.retention,
    )
    runtime.stores.redis.set(f"cph:{lost}", gone.record(replace(known[0], job_ids=())))
    return str(lost)


def test_the_list_shows_it_beside_the_others(api: ApiCaller, unopened: str) -> None:
    after, lost, before = api.get("/v1/registrations")["items"]
    assert [item["jobs"][0]["job_id"] for item in (before, lost, after)] == ["before", "unopened", "after"]
    assert lost["id"] == unopened
    assert (lost["callback_url"], lost["headers"]) == ("http://127.0.0.1:9/…", None)
    assert (lost["state"], lost["metadata"]) == ("watching", None)
    assert lost == api.get(f"/v1/registrations/{unopened}")


def test_the_log_says_which_and_what_to_do(api: ApiCaller, unopened: str, caplog: pytest.LogCaptureFixture) -> None:
    api.get("/v1/registrations?job_id=unopened")
    (record,) = [record for record in caplog.records if record.getMessage() == "registration.unopened"]
    assert record.__dict__["fields"]["registration_id"] == unopened
    assert "BRIDGE_SECRET_KEYS" in record.__dict__["fields"]["remedy"]


def test_it_can_be_cancelled_but_not_be_given_another_secret(api: ApiCaller, unopened: str) -> None:
    problem(api.call("POST", f"/v1/registrations/{unopened}/rotate-secret", json={}), 500)
    assert api.call("DELETE", f"/v1/registrations/{unopened}").status_code == 204
    assert api.get(f"/v1/registrations/{unopened}")["state"] == "cancelled"


def test_the_feed_waits_for_the_key_rather_than_tell_another_event(api: ApiCaller, unopened: str) -> None:
    end(api, "before", "unopened")
    problem(api.call("GET", "/v1/events"), 500)
    assert [item["data"]["job"]["job_id"] for item in api.get("/v1/events?limit=1")["items"]] == ["before"]
