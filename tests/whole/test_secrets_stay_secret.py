"""Secrets planted in every place they could leak from, and looked for in every place they could leak to."""

import base64
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from app.devkit.client import ApiRefused
from app.devkit.processes import wait_until
from tests.support.chat_services import SECRET, SERVICES, TOKEN, ChatService, answer

OWN = "whsec_" + base64.b64encode(b"canary-of-a-secret-brought-along").decode()
HEADERS = {"Authorization": "Bearer canary-in-a-header", "X-Key": "short-1"}


def everywhere(workers: Any) -> list[str]:
    """Logs and metrics of every process of ours, and every value in Redis, RQ's too."""
    logs = [
        path.read_text(encoding="utf-8")
        for path in workers.bridge.logs.glob("*.log")
        if path.stem not in ("inbox", "standin")
    ]
    metrics = [workers.metrics_of(process) for process in ("api", "worker-poll", "worker-deliver")]
    return logs + metrics + workers.everything_in_redis()


def leaks(secrets: list[str], texts: list[str]) -> list[tuple[str, str]]:
    return [(secret, text[:200]) for secret in secrets for text in texts if secret in text]


def test_no_secret_is_in_a_log_or_a_metric_or_lies_open_in_redis(workers) -> None:
    workers.receiver.statuses = [(500, {})]
    told = workers.register(workers.job())
    workers.wait_until_delivered(told)
    workers.register("nobody-knows-me", callback_url=f"{workers.receiver.url}?token=s3cret-query")
    workers.receiver.wait_for(2)
    wait_until(lambda: "job.lost" in workers.log_of("worker-poll"), what="the log of the lost job")
    secrets = [
        "s3cret",
        workers.bridge.secret.removeprefix("whsec_"),
        workers.bridge.key,
        workers.about_cph["iam_password"],
    ]
    seen = everywhere(workers)
    assert len(seen) > 20
    assert leaks(secrets, seen) == []


@pytest.mark.slow
def test_what_goes_wrong_shows_no_secret_either(workers) -> None:
    """Refused by a receiver that repeats all it was sent, by TLS, by the guard's name lookup, by the API."""
    workers.receiver.echoes = True
    workers.receiver.statuses = [(401, {})] * 20
    url = workers.receiver.url
    urls = [url, url.replace("http:", "https:"), "https://nowhere.invalid/hooks/s3cret-path"]
    made = []
    for callback_url in urls:
        fields = {"callback_url": callback_url, "headers": HEADERS, "metadata": {"who": "canary-in-metadata"}}
        made.append(workers.register(workers.job(), secret=OWN, **fields))
        rotated = workers.bridge.call("POST", f"/v1/registrations/{made[-1]['id']}/rotate-secret", {})
        made[-1]["rotated"] = rotated["secret"]
    for registration in made:
        wait_until(lambda: tried(workers, registration), what="an attempt")  # noqa: B023 - called at once
    shown = [*problems(workers), *(str(workers.attempts(registration)) for registration in made)]
    assert "…" in shown[-3]
    assert "TLS" in shown[-2]
    new = [registration["rotated"].removeprefix("whsec_") for registration in made]
    secrets = ["s3cret", "canary-in-a-header", "short-1", OWN.removeprefix("whsec_"), *new]
    assert leaks(secrets, [*shown, *everywhere(workers)]) == []
    assert leaks(["canary"], everywhere(workers)) == []
    assert workers.receiver.callbacks[0].headers["authorization"] == HEADERS["Authorization"]


@pytest.mark.slow
def test_the_credentials_of_a_bot_stay_secret_whatever_it_says(workers) -> None:
    """One that is told, and one that refuses and quotes the URL and what signs it."""
    with closing(ChatService(SERVICES["dingtalk"], workers.clock)) as bot:
        quoted = {"errcode": 310000, "errmsg": f"sign not match: access_token={TOKEN}, secret {SECRET}"}
        bot.says = [answer(200, quoted)]
        made = [
            workers.register(workers.job(), callback_url=bot.url, secret=SECRET, format="dingtalk", link=link)
            for link in (None, "https://console.example")
        ]
        wait_until(lambda: all(tried(workers, each) for each in made), what="attempts")
    shown = [str(workers.attempts(each)) for each in made] + [str(workers.bridge.call("GET", "/v1/destinations"))]
    assert "sign not match" in "".join(shown)
    assert leaks([TOKEN, SECRET], [*shown, *everywhere(workers)]) == []


def tried(workers: Any, registration: dict[str, Any]) -> bool:
    deliveries = workers.bridge.call("GET", f"/v1/deliveries?registration_id={registration['id']}")["items"]
    return any(delivery["attempt_count"] and workers.attempts(registration) for delivery in deliveries)


def problems(workers: Any) -> Iterator[str]:
    """What the API says of bodies that are wrong and hold secrets."""
    good = {"job_id": "a", "callback_url": workers.receiver.url, "secret": OWN, "headers": HEADERS}
    wrong = ({"secret": OWN + "!"}, {"headers": HEADERS | {"Host": "s3cret"}}, {"callback_url": "ftp://s3cret.example"})
    for change in wrong:
        yield refusal(workers, "/v1/registrations", good | change)
    registration = workers.register("nobody-knows-me-either", secret=OWN)
    yield refusal(workers, f"/v1/registrations/{registration['id']}/rotate-secret", {"secret": OWN})


def refusal(workers: Any, path: str, body: dict[str, Any]) -> str:
    with pytest.raises(ApiRefused) as caught:
        workers.bridge.call("POST", path, body)
    return caught.value.body
