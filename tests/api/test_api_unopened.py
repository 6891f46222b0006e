"""A registration whose encryption key is missing: the API shows what it can, and still lists the others."""

from dataclasses import replace

import pytest

from app.store.encryption.cipher import Cipher
from app.store.registrations import Registrations
from tests.support.api_client import ApiCaller, problem
from tests.support.feed import end_jobs


@pytest.fixture
def undecryptable_id(api: ApiCaller) -> str:
    """The id of a registration that was encrypted with a lost key. One before it and one after it can be decrypted."""
    runtime = api.runtime
    api.registered(job_id="before")
    id = api.registered(job_id="unopened", metadata={"room": "ops"}, headers={"X-Key": "canary"})["id"]
    api.registered(job_id="after")
    known = runtime.stores.registrations.get("default", id)
    assert known
    registrations = Registrations(
        runtime.stores.scripts,
        Cipher({"gone": bytes(32)}),
        runtime.stores.gone_urls,
        retention=runtime.settings.retention,
    )
    runtime.stores.redis.set(f"cph:{id}", registrations.record(replace(known[0], job_ids=())))
    return str(id)


def test_the_list_shows_it_beside_the_others(api: ApiCaller, undecryptable_id: str) -> None:
    after, lost, before = api.get("/v1/registrations")["items"]
    assert [item["jobs"][0]["job_id"] for item in (before, lost, after)] == ["before", "unopened", "after"]
    assert lost["id"] == undecryptable_id
    assert (lost["callback_url"], lost["headers"]) == ("http://127.0.0.1:9/…", None)
    assert (lost["state"], lost["metadata"]) == ("watching", None)
    assert lost == api.get(f"/v1/registrations/{undecryptable_id}")


def test_the_log_says_which_and_what_to_do(
    api: ApiCaller, undecryptable_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    api.get("/v1/registrations?job_id=unopened")
    (record,) = [record for record in caplog.records if record.getMessage() == "registration.undecryptable"]
    assert record.__dict__["fields"]["registration_id"] == undecryptable_id
    assert "BRIDGE_SECRET_KEYS" in record.__dict__["fields"]["remedy"]


def test_it_can_be_cancelled_but_not_be_given_another_secret(api: ApiCaller, undecryptable_id: str) -> None:
    problem(api.call("POST", f"/v1/registrations/{undecryptable_id}/rotate-secret", json={}), 500)
    assert api.call("DELETE", f"/v1/registrations/{undecryptable_id}").status_code == 204
    assert api.get(f"/v1/registrations/{undecryptable_id}")["state"] == "cancelled"


def test_the_feed_waits_for_the_key_rather_than_report_another_event(api: ApiCaller, undecryptable_id: str) -> None:
    end_jobs(api, "before", "unopened")
    problem(api.call("GET", "/v1/events"), 500)
    assert [item["data"]["job"]["job_id"] for item in api.get("/v1/events?limit=1")["items"]] == ["before"]
