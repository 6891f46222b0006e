"""Each chat format, sent by the real sender to a simulated service with the real one's limits and error answers."""

import json
import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.domain import callback_url
from app.domain.delivery import Death, DeliveryState
from app.domain.destination import bot_at
from app.domain.job import Job, JobState
from app.domain.registration import Notify, Registration
from app.domain.verdict import Verdict
from app.formats import registry
from tests.support.chat_services import NEW_CHAT, OLD_CHAT, REFUSED_BY_CODE, SERVICES, TOKEN, ChatService, Reply, answer
from workers.delivery.deliver import DeliveryWorker

SECOND = timedelta(seconds=1)
HOSTILE = (
    "<!channel> <@U1> @all @everyone @here @channel [x](https://evil.example) *b* _i_ `c` <b>&amp;</b> "
    '"quoted"\n\r\t\\ \u202e\u0000 {{DATE()}} <at id=all></at> <font color="red">' + "手机😀" * 3_000
)
REFUSED, RETRY, GONE = Verdict.REFUSED, Verdict.RETRY, Verdict.GONE
PAGE = answer(200, "<html>log in</html>", Content_Type="text/html")

# The table of reference/chat-services.md: format, answer, verdict, pause in seconds, part of the service message.
ROWS: list[tuple[str, Reply, Verdict, float | None, str]] = [
    ("slack", answer(429, "rate_limited", Retry_After="30"), RETRY, 30, "rate limit exceeded"),
    ("slack", answer(400, "invalid_token"), REFUSED, None, "create a new webhook"),
    ("slack", answer(403, "action_prohibited"), REFUSED, None, "admins"),
    ("slack", answer(404, "no_service"), REFUSED, None, "was removed"),
    ("slack", answer(410, "channel_is_archived"), GONE, None, "channel_is_archived"),
    ("slack", answer(500, "rollup_error"), RETRY, None, "rollup_error"),
    ("teams", answer(429, {"error": {"message": "throttled"}}), RETRY, None, "rate limit exceeded"),
    (
        "teams",
        answer(400, {"error": {"code": "WorkflowTriggerIsNotEnabled", "message": "x"}}),
        REFUSED,
        None,
        "switched off",
    ),
    (
        "teams",
        answer(401, {"error": {"code": "DirectApiAuthorizationRequired", "message": "x"}}),
        REFUSED,
        None,
        "copy all",
    ),
    ("discord", answer(429, {"message": "x", "retry_after": 1.5}), RETRY, 1.5, "rate limit exceeded"),
    (
        "discord",
        answer(429, {"message": "x", "retry_after": 9.0}, X_RateLimit_Reset_After="64.5"),
        RETRY,
        64.5,
        "429",
    ),
    ("discord", answer(404, {"message": "Unknown Webhook", "code": 10015}), REFUSED, None, "create a new one"),
    ("discord", answer(503, "upstream connect error"), RETRY, None, "503"),
    ("mattermost", answer(429, "limit exceeded", Retry_After="7"), RETRY, 7, "rate limit exceeded"),
    (
        "mattermost",
        answer(400, {"id": "web.incoming_webhook.invalid.app_error", "message": "x"}),
        REFUSED,
        None,
        "new one",
    ),
    ("mattermost", answer(403, {"id": "x", "message": "no"}), REFUSED, None, "Mattermost: no (403)"),
    ("rocketchat", answer(429, {"success": False, "error": "x"}), RETRY, None, "rate limit exceeded"),
    (
        "rocketchat",
        answer(200, {"success": False, "error": "error-invalid-channel"}),
        REFUSED,
        None,
        "channel no longer exists",
    ),
    (
        "googlechat",
        answer(429, {"error": {"status": "RESOURCE_EXHAUSTED", "message": "x"}}),
        RETRY,
        60,
        "rate limit exceeded",
    ),
    ("googlechat", answer(403, {"error": {"status": "PERMISSION_DENIED", "message": "x"}}), REFUSED, None, "allow it"),
    ("googlechat", answer(404, {"error": {"status": "NOT_FOUND", "message": "x"}}), REFUSED, None, "no longer exists"),
    (
        "telegram",
        answer(429, {"ok": False, "error_code": 429, "description": "x", "parameters": {"retry_after": 35}}),
        RETRY,
        35,
        "rate limit exceeded",
    ),
    (
        "telegram",
        answer(400, {"ok": False, "description": "Bad Request: chat not found"}),
        REFUSED,
        None,
        "chat_id is wrong",
    ),
    ("telegram", answer(403, {"ok": False, "description": "Forbidden: bot was kicked"}), REFUSED, None, "add the bot"),
    ("telegram", answer(502, "<html>Bad Gateway</html>"), RETRY, None, "502"),
    ("feishu", answer(200, {"code": 11232, "msg": "frequency limited"}), RETRY, None, "rate limit exceeded"),
    ("feishu", answer(200, {"code": 9499, "msg": "too many request"}), RETRY, None, "rate limit exceeded"),
    ("feishu", answer(200, {"code": 19021, "msg": "sign match fail"}), REFUSED, None, "secret is wrong"),
    ("feishu", answer(200, {"code": 19022, "msg": "Ip Not Allowed"}), REFUSED, None, "IP allowlist"),
    ("feishu", answer(200, {"code": 19024, "msg": "Key Words Not Found"}), REFUSED, None, "keyword"),
    ("feishu", answer(200, {"StatusCode": 19021, "StatusMessage": "sign match fail"}), REFUSED, None, "19021"),
    ("dingtalk", answer(200, {"errcode": 130101, "errmsg": "send too fast"}), RETRY, 600, "ten minutes"),
    ("dingtalk", answer(200, {"errcode": 410100, "errmsg": "send too fast"}), RETRY, 600, "ten minutes"),
    ("dingtalk", answer(200, {"errcode": 90030, "errmsg": "limit"}), RETRY, 600, "ten minutes"),
    (
        "dingtalk",
        answer(200, {"errcode": 310000, "errmsg": "sign not match"}),
        REFUSED,
        None,
        "(310000): the secret is wrong",
    ),
    ("dingtalk", answer(200, {"errcode": 300001, "errmsg": "token is not exist"}), REFUSED, None, "copy all"),
    ("dingtalk", answer(200, {"errcode": -1, "errmsg": "system busy"}), REFUSED, None, "busy"),
    ("wecom", answer(200, {"errcode": 45009, "errmsg": "api freq out of limit"}), RETRY, None, "rate limit exceeded"),
    ("wecom", answer(200, {"errcode": 45033, "errmsg": "concurrent"}), RETRY, None, "rate limit exceeded"),
    ("wecom", answer(200, {"errcode": 93000, "errmsg": "invalid webhook url"}), REFUSED, None, "(93000)"),
    ("wecom", answer(200, {"errcode": 6000, "errmsg": "conflict"}), REFUSED, None, "busy"),
    *((name, PAGE, RETRY, None, "HTML page") for name in SERVICES),
]

# Refusals of a message's content or size: format, answer, part of the service message.
MALFORMED: list[tuple[str, Reply, str]] = [
    *((name, service.malformed, "") for name, service in SERVICES.items()),
    *((name, answer(413, "too large"), "413") for name in SERVICES),
    ("slack", answer(400, "invalid_blocks"), "rejected the message"),
    ("slack", answer(400, "msg_too_long"), "rejected the message"),
    ("discord", answer(422, "Unprocessable"), "422"),
    ("telegram", answer(400, {"ok": False, "description": "Bad Request: BUTTON_URL_INVALID"}), "BUTTON_URL_INVALID"),
    ("telegram", answer(200, {"ok": False, "description": "no"}), "Telegram: no"),
    ("feishu", answer(400, {"code": 19002, "msg": "params error"}), "rejected the message"),
    ("feishu", answer(200, {"code": "9499", "msg": "Bad Request"}), "rejected the message"),
    ("dingtalk", answer(200, {"errcode": 430101, "errmsg": "unsafe link"}), "unsafe"),
    ("dingtalk", answer(200, {"errcode": 460101, "errmsg": "too long"}), "too long"),
    ("wecom", answer(200, {"errcode": 40008, "errmsg": "invalid message type"}), "rejected the message"),
    ("wecom", answer(200, {"errcode": 45002, "errmsg": "content size out of limit"}), "45002"),
]

# Answers that are no known no of the service; some are a yes of a compatible server.
ARRIVED: list[tuple[str, Reply]] = [
    *((name, answer(200, "")) for name in SERVICES),
    *((name, answer(204, "")) for name in SERVICES),
    *((name, answer(201, {"success": True})) for name in SERVICES),  # Rocket.Chat
    *((name, answer(200, {"result": "success", "msg": ""})) for name in SERVICES),  # Zulip
    *((name, answer(200, "ok\n", Content_Type="text/html; charset=utf-8")) for name in SERVICES),
    *((name, (200, {}, "发送成功".encode("gbk"))) for name in SERVICES),
    *((name, answer(200, "x" * 70_000)) for name in SERVICES),
    *((name, answer(200, "[[[[")) for name in SERVICES),
    *((name, (200, {}, b'\xef\xbb\xbf{"errcode":"0","code":"0","errmsg":"\xce')) for name in SERVICES),
    ("dingtalk", answer(200, {"errcode": 0.0, "errmsg": "ok"})),
    ("dingtalk", answer(200, {"errcode": "0 ", "errmsg": "ok"})),
    ("feishu", answer(200, {"code": None, "StatusCode": "0"})),
    ("feishu", answer(200, {"code": 200, "msg": "success"})),
]

# Noes inside a 2xx, in whatever spelling.
NOES: list[tuple[str, Reply]] = [
    *((name, answer(200, {"success": False, "error": "error-invalid-channel"})) for name in SERVICES),
    *((name, answer(200, {"result": "error", "msg": "Invalid stream"})) for name in SERVICES),
    *((name, answer(200, {"ok": False, "description": "chat not found"})) for name in SERVICES),
    *((name, answer(202, {"error": {"message": "no", "code": 403}})) for name in SERVICES),
    *((name, (200, {}, b'{"ok":"false","success":"false","errcode":"310000","code":"19021"')) for name in SERVICES),
    ("dingtalk", (200, {}, b'{"errcode":"310000","errmsg":"sign not match \xb0"}')),
    ("dingtalk", answer(200, {"errcode": 300001.0, "errmsg": "token is not exist"})),
    ("slack", answer(200, "invalid_token")),
    ("discord", answer(200, {"code": 10015, "message": "Unknown Webhook"})),
    ("mattermost", answer(200, {"id": "x.app_error", "message": "no", "status_code": 400})),
    (
        "teams",
        answer(200, "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 403"),
    ),
]


class Bot:
    """A bot of a service, and the registrations that notify it."""

    def __init__(self, service: ChatService, runtime: Runtime, make: Callable[..., Registration], clock: Any) -> None:
        self.service = service
        self._runtime, self._make, self._clock = runtime, make, clock
        self._made = 0

    def register(self, *jobs: Job, target: str | None = None, **fields: Any) -> Registration:
        """Registers as the API does. Each call adds a message that is due."""
        rules = self.service.service
        raw = self.service.url.replace(rules.target, target) if target else self.service.url
        form = registry.BY_NAME[rules.name]
        url = callback_url.parse(raw, self._runtime.config.address_policy, "t")
        form.check(url, rules.secret or None)
        self._made += 1
        usual = {
            "callback_url": raw,
            "destination": bot_at(url.origin, form.name, form.bot(url)),
            "secret": rules.secret,
            "format": rules.name,
            "job_ids": (),
            "ended": jobs or (Job(f"job-{self._made}", JobState.SUCCEEDED),),
        }
        made = self._make(at=self._clock.now, **usual | fields)
        self._runtime.stores.registrations.add(made, rate=self._runtime.config.format_catalog.rate(rules.name))
        return made


@pytest.fixture
def make_bot(runtime: Runtime, registration, clock) -> Iterator[Callable[[str], Bot]]:
    started = []

    def start(name: str) -> Bot:
        service = ChatService(SERVICES[name], clock)
        started.append(service)
        return Bot(service, runtime, registration, clock)

    yield start
    for service in started:
        service.close()


@pytest.fixture
def attempts(stores: Stores, deliveries_of) -> Callable[[], list[dict[str, Any]]]:
    """Reads the attempts of the only delivery."""

    def read() -> list[dict[str, Any]]:
        (delivery,) = deliveries_of()
        found = stores.deliveries.get("t", delivery.id)
        assert found is not None
        return found[1]

    return read


FAILED = Job("j" * 32, JobState.FAILED, phone_id="p" * 32, error_code="CPS.0003", error_msg=HOSTILE)
JOBS = {
    "a success": {},
    "a failure with hostile text": {"ended": (FAILED,), "metadata": {HOSTILE[:200]: HOSTILE[:2_000], "n": 1}},
    "a group": {
        "ended": tuple(Job(f"{n:032}", JobState.FAILED, error_msg=HOSTILE) for n in range(60)),
        "notify": Notify.ALL,
    },
    "a link": {"link": "https://console.example/jobs/{job_id}?a=b&c=d"},
    "Chinese": {"language": "zh-CN", "ended": (FAILED,)},
}


@pytest.mark.parametrize("case", JOBS)
@pytest.mark.parametrize("name", SERVICES)
def test_each_service_takes_the_message(
    delivery_worker: DeliveryWorker, run_due, make_bot, attempts, deliveries_of, name: str, case: str
) -> None:
    bot = make_bot(name)
    bot.register(**JOBS[case])
    assert run_due(delivery_worker) == 1
    assert bot.service.refused == []
    assert [attempt["verdict"] for attempt in attempts()] == ["delivered"]
    assert deliveries_of()[0].state is DeliveryState.DELIVERED


@pytest.mark.parametrize(("name", "reply", "verdict", "wait", "expected_message"), ROWS)
def test_each_way_to_say_no_is_understood(
    delivery_worker: DeliveryWorker,
    run_due,
    make_bot,
    attempts,
    clock,
    name: str,
    reply: Reply,
    verdict: Verdict,
    wait: float | None,
    expected_message: str,
) -> None:
    bot = make_bot(name)
    bot.register()
    bot.service.says = [reply]
    run_due(delivery_worker)
    (attempt,) = attempts()
    assert (attempt["verdict"], attempt["status_code"]) == (verdict, reply[0])
    assert expected_message in attempt["service_message"]
    assert TOKEN not in str(attempt)
    if verdict is GONE:
        assert attempt["next_at"] is None
        return
    waited = attempt["next_at"] / 1000 - clock.now.timestamp()
    assert max(30, wait or 0) <= waited <= max(33.1, wait or 0)
    clock.now += (wait or 0) * SECOND - SECOND
    assert run_due(delivery_worker) == 0
    clock.now += 35 * SECOND
    run_due(delivery_worker)
    assert attempts()[-1]["verdict"] == "delivered"


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if service.secret])
def test_a_wrong_secret_is_reported_as_such(
    delivery_worker: DeliveryWorker, run_due, make_bot, attempts, name: str
) -> None:
    bot = make_bot(name)
    bot.register(secret="SECanother")
    run_due(delivery_worker)
    assert attempts()[0]["verdict"] == "refused"
    assert "the secret is wrong" in attempts()[0]["service_message"]


def test_teams_has_accepted_what_it_does_not_show_yet(
    delivery_worker: DeliveryWorker, run_due, make_bot, attempts
) -> None:
    make_bot("teams").register()
    run_due(delivery_worker)
    assert "accepted" in attempts()[0]["service_message"]


def test_a_chat_that_has_moved_is_notified_there_at_once_and_from_now_on(
    delivery_worker: DeliveryWorker, run_due, make_bot, attempts, stores: Stores, clock, deliveries_of
) -> None:
    bot = make_bot("telegram")
    target = SERVICES["telegram"].target.replace("chat_id=-1", f"chat_id={OLD_CHAT}")
    made = bot.register(target=target)
    run_due(delivery_worker)
    assert [message["chat_id"] for message in bot.service.messages] == [NEW_CHAT]
    (attempt,) = attempts()
    assert (attempt["number"], attempt["verdict"], attempt["status_code"]) == (1, "delivered", 200)
    known = stores.registrations.get("t", made.id)
    assert known is not None
    assert known[0].callback_url.endswith(f"chat_id={NEW_CHAT}")
    assert known[0].secret == ""
    stores.deliveries.redeliver("t", deliveries_of()[0].id, clock())
    clock.now += 10 * SECOND
    run_due(delivery_worker)
    assert len(bot.service.callbacks) == 3  # the old chat is not called again


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if service.pace])
def test_a_bot_is_never_notified_too_often(
    delivery_worker: DeliveryWorker, run_due, make_bot, delivery_states, clock, name: str
) -> None:
    """The bot has a full token bucket, and the messages cannot share a digest: each has its own link."""
    bot = make_bot(name)
    bot.register()
    run_due(delivery_worker)
    clock.now += 300 * SECOND
    most, window = SERVICES[name].pace
    count = min(most + 6, 45)
    for number in range(count):
        bot.register(link=f"https://console.example/{number}")
    until = clock.now + count * 1.2 * window / most * SECOND + 2 * SECOND
    while clock.now < until:
        run_due(delivery_worker)
        clock.now += 0.1 * SECOND
    assert (bot.service.refused, bot.service.times.bans) == ([], 0)
    assert delivery_states() == [DeliveryState.DELIVERED] * (count + 1)
    assert len(bot.service.messages) == count + 1


def test_who_is_banned_is_left_alone_until_the_ban_is_over(
    delivery_worker: DeliveryWorker, run_due, make_bot, delivery_states, clock
) -> None:
    """Another client of the bot has used up its rate limit."""
    bot = make_bot("dingtalk")
    bot.register()
    bot.service.says = [SERVICES["dingtalk"].overloaded]
    run_due(delivery_worker)
    bot.register()
    clock.now += 599 * SECOND
    assert run_due(delivery_worker) == 0
    clock.now += 2 * SECOND
    assert run_due(delivery_worker) == 1
    assert delivery_states() == [DeliveryState.DELIVERED] * 2
    assert len(bot.service.messages) == 1


def test_what_is_refused_for_good_is_tried_three_times(
    delivery_worker: DeliveryWorker, run_due, make_bot, deliveries_of, clock
) -> None:
    bot = make_bot("wecom")
    bot.register()
    bot.service.says = [SERVICES["wecom"].malformed] * 9
    for _ in range(10):
        run_due(delivery_worker)
        clock.now += 200 * SECOND
    (delivery,) = deliveries_of()
    assert (delivery.death, delivery.attempts) == (Death.REFUSED, 3)


@pytest.mark.parametrize(("name", "reply", "expected_message"), MALFORMED)
@pytest.mark.parametrize("case", ["a link", "a failure with hostile text", "a group"])
def test_a_message_that_is_refused_for_its_form_arrives_once_as_plain_text(
    delivery_worker: DeliveryWorker,
    run_due,
    make_bot,
    attempts,
    caplog,
    name: str,
    reply: Reply,
    expected_message: str,
    case: str,
) -> None:
    caplog.set_level(logging.INFO)
    bot = make_bot(name)
    bot.register(**JOBS[case])
    bot.service.says = [reply]
    run_due(delivery_worker)
    assert (len(bot.service.callbacks), len(bot.service.messages), bot.service.refused) == (2, 1, [])
    (attempt,) = attempts()
    assert (attempt["verdict"], attempt["number"], attempt["fallback"]) == ("delivered", 1, True)
    assert expected_message in attempt["service_message"]
    assert attempt["service_message"].endswith("; sent again in its simplest form, which was accepted")
    (logged,) = (record for record in caplog.records if record.getMessage() == "delivery.attempted")
    assert logged.fields["fallback"] is True


def test_several_messages_in_one_that_is_refused_arrive_as_plain_text(
    delivery_worker: DeliveryWorker, run_due, make_bot, deliveries_of, clock
) -> None:
    bot = make_bot("wecom")
    for _ in range(3):
        bot.register()
    bot.service.says = [REFUSED_BY_CODE]
    run_due(delivery_worker)
    (message,) = bot.service.messages
    assert all(f"job-{number}" in message["text"]["content"] for number in (1, 2, 3))
    assert {delivery.state for delivery in deliveries_of()} == {DeliveryState.DELIVERED}


def test_plain_text_that_is_refused_too_is_not_sent_with_every_attempt(
    delivery_worker: DeliveryWorker, run_due, make_bot, deliveries_of, attempts, clock
) -> None:
    bot = make_bot("slack")
    bot.register()
    bot.service.says = [SERVICES["slack"].malformed] * 9
    for _ in range(10):
        run_due(delivery_worker)
        clock.now += 200 * SECOND
    assert deliveries_of()[0].death is Death.REFUSED
    assert [attempt.get("fallback", False) for attempt in attempts()] == [True, False, False]
    assert len(bot.service.callbacks) == 4


def test_plain_text_whose_answer_is_lost_is_followed_by_one_message_at_most(
    delivery_worker: DeliveryWorker, run_due, make_bot, deliveries_of, clock
) -> None:
    bot = make_bot("slack")
    bot.register()
    bot.service.says = [SERVICES["slack"].malformed, answer(504, ""), SERVICES["slack"].malformed, answer(504, "")] * 3
    for _ in range(10):
        run_due(delivery_worker)
        clock.now += 200 * SECOND
    assert deliveries_of()[0].death is Death.DOUBTFUL
    assert sum("blocks" not in json.loads(callback.body) for callback in bot.service.callbacks) == 2


@pytest.mark.parametrize(("name", "reply"), ARRIVED)
def test_people_are_told_once_whatever_the_service_says_to_a_message_that_arrived(
    delivery_worker: DeliveryWorker, run_due, make_bot, deliveries_of, clock, name: str, reply: Reply
) -> None:
    bot = make_bot(name)
    bot.register()
    bot.service.says = [reply]
    for _ in range(3):
        run_due(delivery_worker)
        clock.now += 700 * SECOND
    assert len(bot.service.callbacks) == 1
    assert deliveries_of()[0].state is DeliveryState.DELIVERED


@pytest.mark.parametrize(("name", "reply"), NOES)
def test_a_no_in_a_2xx_is_a_no_in_every_spelling(
    delivery_worker: DeliveryWorker, run_due, make_bot, attempts, name: str, reply: Reply
) -> None:
    bot = make_bot(name)
    bot.register()
    bot.service.says = [reply] * 2
    run_due(delivery_worker)
    assert attempts()[0]["verdict"] == "refused"


@pytest.mark.parametrize("status", [408, 499, 504, 524])
@pytest.mark.parametrize("name", SERVICES)
def test_a_message_that_a_gateway_did_not_wait_for_is_sent_once_more_at_most(
    delivery_worker: DeliveryWorker, run_due, make_bot, deliveries_of, clock, name: str, status: int
) -> None:
    bot = make_bot(name)
    bot.register()
    bot.service.says = [answer(status, "")] * 9
    for _ in range(4):
        run_due(delivery_worker)
        clock.now += 700 * SECOND
    assert len(bot.service.callbacks) == 2
    assert deliveries_of()[0].death is Death.DOUBTFUL


@pytest.mark.parametrize(
    "link",
    ["http://console:8080/jobs/{job_id}", "http://localhost/", "https://", "https://a b", "https://x.example:0/"],
)
@pytest.mark.parametrize("name", SERVICES)
def test_a_link_that_cannot_be_opened_costs_no_message(
    delivery_worker: DeliveryWorker, run_due, make_bot, attempts, name: str, link: str
) -> None:
    bot = make_bot(name)
    bot.register(link=link)
    run_due(delivery_worker)
    assert bot.service.refused == []
    assert [(attempt["verdict"], "fallback" in attempt) for attempt in attempts()] == [("delivered", False)]
