"""The format of callbacks, its language and link: requested, validated and shown."""

from typing import Any

import pytest

from app.domain.destination import destination_id, lane_of
from tests.conftest import SECRET
from tests.support.api_client import SMALLEST, ApiCaller, problem
from tests.support.receiver import Receiver

SLACK = "https://hooks.slack.com/services/T0/B0/t0ken"
DISCORD = "https://discord.com/api/webhooks/1/t0ken"
DINGTALK = "https://oapi.dingtalk.com/robot/send?access_token=t0ken"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (SLACK, "slack"),
        (DISCORD, "discord"),
        ("https://chat.googleapis.com/v1/spaces/S/messages?key=k&token=t", "googlechat"),
        ("https://bot.example/hooks/x", "standard"),
    ],
)
def test_auto_selects_the_format_by_the_host(api: ApiCaller, url: str, expected: str) -> None:
    made = api.registered(callback_url=url)
    assert made["format"] == expected
    shown = api.get(f"/v1/registrations/{made['id']}")
    assert (shown["format"], shown["language"], shown["link"]) == (expected, "en", None)


def test_what_is_asked_for_is_kept_and_shown(api: ApiCaller) -> None:
    wanted = {"format": "mattermost", "language": "zh-CN", "link": "https://console.example/{job_id}"}
    made = api.registered(**wanted)
    for shown in (made, api.get(f"/v1/registrations/{made['id']}"), api.get("/v1/registrations")["items"][0]):
        assert {name: shown[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("fields", "pointer", "hint"),
    [
        ({"format": "irc"}, "/format", "slack"),
        ({"format": "template:nothing"}, "/format", "BRIDGE_TEMPLATES_DIR"),
        ({"format": 7}, "/format", None),
        ({"language": "de"}, "/language", None),
        ({"link": "https://console.example/{secret}"}, "/link", None),
        ({"link": "javascript:alert(1)"}, "/link", None),
        ({"callback_url": "https://outlook.webhook.office.com/webhook/x"}, "/callback_url", "Workflows"),
        ({"callback_url": "https://hooks.slack.com/workflows/x"}, "/callback_url", "services"),
        ({"format": "discord"}, "/callback_url", "webhooks"),
        ({"secret": "whsec_short"}, "/secret", None),
        ({"callback_url": SLACK, "secret": SECRET}, "/secret", "leave it out"),
        ({"callback_url": DINGTALK, "secret": SECRET}, "/secret", "SEC"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/registrations", "/v1/callbacks/test"])
def test_what_cannot_work_is_refused_with_the_way_out(
    api: ApiCaller, path: str, fields: dict[str, Any], pointer: str, hint: str | None
) -> None:
    job = {"job_id": SMALLEST["job_id"]} if "registrations" in path else {}
    answer = problem(api.call("POST", path, json={"callback_url": SMALLEST["callback_url"], **job, **fields}), 422)
    assert [error["pointer"] for error in answer["errors"]] == [pointer]
    assert hint is None or hint in answer["hint"]


def test_nothing_is_made_up_for_a_chat_that_knows_no_secret(api: ApiCaller) -> None:
    assert "secret" not in api.registered(callback_url=SLACK)
    assert api.registered(callback_url="https://bot.example/hooks/x")["secret"]
    id = api.registered(callback_url=SLACK)["id"]
    answer = api.call("POST", f"/v1/registrations/{id}/rotate-secret", json={})
    assert problem(answer, 422)["errors"][0]["pointer"] == "/secret"


def test_the_own_secret_of_a_bot_is_kept_and_exchanged_as_it_is(api: ApiCaller) -> None:
    made = api.registered(callback_url=DINGTALK, secret="SECfirst")
    assert made["secret"] == "SECfirst"
    path = f"/v1/registrations/{made['id']}/rotate-secret"
    assert problem(api.call("POST", path, json={}), 422)["errors"][0]["pointer"] == "/secret"
    answer = api.call("POST", path, json={"secret": "SECsecond"})
    assert (answer.status_code, answer.json["secret"]) == (200, "SECsecond")
    known = api.runtime.stores.registrations.get("default", made["id"])
    assert known is not None
    assert known[0].secrets_at(api.runtime.stores.clock()) == ("SECsecond",)


def test_a_bot_is_a_destination_of_its_own(api: ApiCaller) -> None:
    for url in (SLACK, SLACK, SLACK + "2", DISCORD):
        api.registered(callback_url=url)
    found = api.get("/v1/destinations")["items"]
    assert sorted(each["format"] for each in found) == ["discord", "slack", "slack"]
    assert len({each["destination"] for each in found}) == 3
    assert not [each for each in found if "t0ken" in str(each)]
    one = found[0]
    assert one["id"] == destination_id(lane_of("default", one["destination"]))
    assert api.get(f"/v1/destinations/{one['id']}")["concurrency"] == 1


def test_a_test_call_is_sent_and_judged_by_the_format(api: ApiCaller, receiver: Receiver) -> None:
    body = {"callback_url": receiver.url, "format": "slack", "language": "zh-CN"}
    receiver.answer_body = b"invalid_token"
    answer = api.call("POST", "/v1/callbacks/test", json=body).json
    assert (answer["verdict"], answer["status_code"], answer["secret"]) == ("refused", 200, None)
    assert "Slack" in answer["service_message"]
    receiver.answer_body = b"ok"
    assert api.call("POST", "/v1/callbacks/test", json=body).json["verdict"] == "delivered"
    assert "attachments" in receiver.callbacks[1].event
    assert "webhook-signature" not in receiver.callbacks[1].headers


def test_a_test_call_is_sent_again_as_plain_text_if_the_service_refuses_its_form(
    api: ApiCaller, receiver: Receiver
) -> None:
    receiver.statuses = [(400, {})]
    answer = api.call("POST", "/v1/callbacks/test", json={"callback_url": receiver.url, "format": "slack"}).json
    assert (answer["verdict"], answer["fallback"]) == ("delivered", True)
    assert [list(callback.event) for callback in receiver.callbacks] == [["text", "blocks", "attachments"], ["text"]]


def test_a_flow_at_an_unknown_host_is_asked_for_its_format(api: ApiCaller) -> None:
    url = "https://flows.cloud.example/workflows/w/triggers/manual/paths/invoke?sig=t0ken"
    answer = api.call("POST", "/v1/callbacks/test", json={"callback_url": url})
    (error,) = answer.json["errors"]
    assert (answer.status_code, error["pointer"]) == (422, "/format")
    assert '"teams"' in str(answer.json)
    assert "t0ken" not in str(answer.json)


def test_a_machine_format_is_signed_as_ever(api: ApiCaller, receiver: Receiver) -> None:
    api.call("POST", "/v1/callbacks/test", json={"callback_url": receiver.url, "secret": SECRET})
    assert receiver.callbacks[0].verified_by(SECRET)


def test_the_document_lists_the_formats(api: ApiCaller) -> None:
    document = api.get("/openapi.json", key=None)
    for name in ("RegistrationRequest", "CallbackTestRequest"):
        listed, templates = document["components"]["schemas"][name]["properties"]["format"]["anyOf"]
        assert {"auto", "standard", "slack"} <= set(listed["enum"])
        assert templates["pattern"] == "^template:"
