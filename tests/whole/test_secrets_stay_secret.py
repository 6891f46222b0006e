"""Secrets are sent in every field from which they could leak, and searched for wherever they could leak to."""

import base64
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from app.devkit.client import ApiRefused
from app.devkit.processes import wait_until
from tests.support.chat_services import SECRET, SERVICES, TOKEN, ChatService, answer

OWN_SECRET = "whsec_" + base64.b64encode(b"canary-of-a-secret-brought-along").decode()
HEADERS = {"Authorization": "Bearer canary-in-a-header", "X-Key": "short-1"}


def all_texts(running_deployment: Any) -> list[str]:
    """Logs and metrics of every process of the bridge, and every value in Redis, including RQ's."""
    logs = [
        path.read_text(encoding="utf-8")
        for path in running_deployment.bridge.logs.glob("*.log")
        if path.stem not in ("inbox", "standin")
    ]
    metrics = [running_deployment.metrics_of(process) for process in ("api", "worker-poll", "worker-deliver")]
    return logs + metrics + running_deployment.redis_values()


def leaks(secrets: list[str], texts: list[str]) -> list[tuple[str, str]]:
    return [(secret, text[:200]) for secret in secrets for text in texts if secret in text]


def test_no_secret_is_in_a_log_or_a_metric_or_unencrypted_in_redis(running_deployment) -> None:
    running_deployment.receiver.statuses = [(500, {})]
    registration = running_deployment.register(running_deployment.job())
    running_deployment.wait_until_delivered(registration)
    running_deployment.register("nobody-knows-me", callback_url=f"{running_deployment.receiver.url}?token=s3cret-query")
    running_deployment.receiver.wait_for(2)
    wait_until(lambda: "job.lost" in running_deployment.log_of("worker-poll"), what="the log of the lost job")
    secrets = [
        "s3cret",
        running_deployment.bridge.secret.removeprefix("whsec_"),
        running_deployment.bridge.key,
        running_deployment.about_cph["iam_password"],
    ]
    stored = all_texts(running_deployment)
    assert len(stored) > 20
    assert leaks(secrets, stored) == []


def test_what_jobs_print_and_receivers_answer_is_encrypted_in_redis(running_deployment) -> None:
    """Jobs end in every way in which an output is stored; a receiver and a bot answer with words of their own."""
    output, link = "canary-in-the-output", "https://console.example/canary-in-the-link/{job_id}"
    running_deployment.receiver.echoes = True
    running_deployment.receiver.statuses = [(500, {})]
    fields = {"metadata": {"who": "canary-in-metadata"}, "link": link, "notify": "both"}
    job = {"outcome": "failed", "execute_msg": output}
    registrations = [
        running_deployment.register(running_deployment.job(**job), **fields),
        running_deployment.register(running_deployment.job(**job, duration_s=1), **fields),
        running_deployment.bridge.call("POST", "/v1/registrations", {"job_id": running_deployment.job(**job)}),
    ]
    with closing(ChatService(SERVICES["dingtalk"], running_deployment.clock)) as bot:
        bot.says = [answer(200, {"errcode": 310000, "errmsg": "canary-in-the-answer"})]
        registrations.append(
            running_deployment.register(
                running_deployment.job(**job), callback_url=bot.url, secret=SECRET, format="dingtalk", link=link
            )
        )
        wait_until(
            lambda: all(was_attempted(running_deployment, registrations[number]) for number in (0, 1, 3)),
            what="attempts",
        )
    # Those of the first two jobs and their summaries, and one each of the others.
    events = wait_until(
        lambda: (items := running_deployment.bridge.call("GET", "/v1/events")["items"]) and len(items) >= 6 and items,
        what="events",
    )
    shown = [*map(str, events), *(str(running_deployment.attempts(registrations[number])) for number in (0, 1, 3))]
    shown += [str(running_deployment.get_registration(each)) for each in registrations]
    for canary in ("in-the-output", "in-metadata", "in-the-link", "in-the-answer"):
        assert f"canary-{canary}" in "".join(shown)
    assert leaks(["canary"], running_deployment.redis_values()) == []


@pytest.mark.slow
def test_what_goes_wrong_shows_no_secret_either(running_deployment) -> None:
    """Callbacks fail: the receiver echoes requests, TLS fails, a name is unknown. The API refuses registrations."""
    running_deployment.receiver.echoes = True
    running_deployment.receiver.statuses = [(401, {})] * 20
    url = running_deployment.receiver.url
    urls = [url, url.replace("http:", "https:"), "https://nowhere.invalid/hooks/s3cret-path"]
    registrations = []
    for callback_url in urls:
        fields = {"callback_url": callback_url, "headers": HEADERS, "metadata": {"who": "canary-in-metadata"}}
        registrations.append(running_deployment.register(running_deployment.job(), secret=OWN_SECRET, **fields))
        rotated = running_deployment.bridge.call(
            "POST", f"/v1/registrations/{registrations[-1]['id']}/rotate-secret", {}
        )
        registrations[-1]["rotated"] = rotated["secret"]
    for registration in registrations:
        wait_until(lambda: was_attempted(running_deployment, registration), what="an attempt")  # noqa: B023 - called at once
    shown = [
        *refusals(running_deployment),
        *(str(running_deployment.attempts(registration)) for registration in registrations),
    ]
    assert "…" in shown[-3]
    assert "TLS" in shown[-2]
    new = [registration["rotated"].removeprefix("whsec_") for registration in registrations]
    secrets = ["s3cret", "canary-in-a-header", "short-1", OWN_SECRET.removeprefix("whsec_"), *new]
    assert leaks(secrets, [*shown, *all_texts(running_deployment)]) == []
    assert leaks(["canary"], all_texts(running_deployment)) == []
    assert running_deployment.receiver.callbacks[0].headers["authorization"] == HEADERS["Authorization"]


@pytest.mark.slow
def test_the_credentials_of_a_bot_stay_secret_whatever_it_says(running_deployment) -> None:
    """One message is accepted. The other is refused with an error that quotes the URL and the secret."""
    with closing(ChatService(SERVICES["dingtalk"], running_deployment.clock)) as bot:
        quoting_error = {"errcode": 310000, "errmsg": f"sign not match: access_token={TOKEN}, secret {SECRET}"}
        bot.says = [answer(200, quoting_error)]
        registrations = [
            running_deployment.register(
                running_deployment.job(), callback_url=bot.url, secret=SECRET, format="dingtalk", link=link
            )
            for link in (None, "https://console.example")
        ]
        wait_until(lambda: all(was_attempted(running_deployment, each) for each in registrations), what="attempts")
    shown = [str(running_deployment.attempts(each)) for each in registrations] + [
        str(running_deployment.bridge.call("GET", "/v1/destinations"))
    ]
    assert "sign not match" in "".join(shown)
    assert leaks([TOKEN, SECRET], [*shown, *all_texts(running_deployment)]) == []


def was_attempted(running_deployment: Any, registration: dict[str, Any]) -> bool:
    deliveries = running_deployment.bridge.call("GET", f"/v1/deliveries?registration_id={registration['id']}")["items"]
    return any(delivery["attempt_count"] and running_deployment.attempts(registration) for delivery in deliveries)


def refusals(running_deployment: Any) -> Iterator[str]:
    """The error bodies of the API for invalid bodies with secrets."""
    valid = {"job_id": "a", "callback_url": running_deployment.receiver.url, "secret": OWN_SECRET, "headers": HEADERS}
    invalid = (
        {"secret": OWN_SECRET + "!"},
        {"headers": HEADERS | {"Host": "s3cret"}},
        {"callback_url": "ftp://s3cret.example"},
    )
    for change in invalid:
        yield refusal(running_deployment, "/v1/registrations", valid | change)
    registration = running_deployment.register("nobody-knows-me-either", secret=OWN_SECRET)
    yield refusal(running_deployment, f"/v1/registrations/{registration['id']}/rotate-secret", {"secret": OWN_SECRET})


def refusal(running_deployment: Any, path: str, body: dict[str, Any]) -> str:
    with pytest.raises(ApiRefused) as caught:
        running_deployment.bridge.call("POST", path, body)
    return caught.value.body
