"""Each chat format through the real sender to a service that enforces its own rules, and says no in its own way."""

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
from tests.support.chat_services import NEW_CHAT, OLD_CHAT, SERVICES, TOKEN, ChatService, Reply, answer
from workers.delivery.deliver import DeliveryWorker

SECOND = timedelta(seconds=1)
HOSTILE = (
    "<!channel> <@U1> @all @everyone @here @channel [x](https://evil.example) *b* _i_ `c` <b>&amp;</b> "
    '"quoted"\n\r\t\\ \u202e\u0000 {{DATE()}} <at id=all></at> <font color="red">' + "手机😀" * 3_000
)
REFUSED, RETRY, GONE = Verdict.REFUSED, Verdict.RETRY, Verdict.GONE
PAGE = answer(200, "<html>log in</html>", Content_Type="text/html")

# The table of reference/chat-services.md, and what a person reads. The third: how long it is left alone, in seconds.
ROWS: list[tuple[str, Reply, Verdict, float | None, str]] = [
    ("slack", answer(429, "rate_limited", Retry_After="30"), RETRY, 30, "asked too often"),
    ("slack", answer(400, "invalid_payload"), REFUSED, None, "does not take the message"),
    ("slack", answer(400, "invalid_token"), REFUSED, None, "make a new webhook"),
    ("slack", answer(403, "action_prohibited"), REFUSED, None, "admins"),
    ("slack", answer(404, "no_service"), REFUSED, None, "was removed"),
    ("slack", answer(410, "channel_is_archived"), GONE, None, "channel_is_archived"),
    ("slack", answer(500, "rollup_error"), RETRY, None, "rollup_error"),
    ("teams", answer(429, {"error": {"message": "throttled"}}), RETRY, None, "asked too often"),
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
    ("discord", answer(429, {"message": "x", "retry_after": 1.5}), RETRY, 1.5, "asked too often"),
    (
        "discord",
        answer(429, {"message": "x", "retry_after": 9.0}, X_RateLimit_Reset_After="64.5"),
        RETRY,
        64.5,
        "429",
    ),
    ("discord", answer(404, {"message": "Unknown Webhook", "code": 10015}), REFUSED, None, "make a new one"),
    ("discord", answer(503, "upstream connect error"), RETRY, None, "503"),
    ("mattermost", answer(429, "limit exceeded", Retry_After="7"), RETRY, 7, "asked too often"),
    (
        "mattermost",
        answer(400, {"id": "web.incoming_webhook.invalid.app_error", "message": "x"}),
        REFUSED,
        None,
        "new one",
    ),
    ("mattermost", answer(403, {"id": "x", "message": "no"}), REFUSED, None, "Mattermost: no (403)"),
    ("rocketchat", answer(429, {"success": False, "error": "x"}), RETRY, None, "asked too often"),
    ("rocketchat", answer(200, {"success": False, "error": "error-invalid-channel"}), REFUSED, None, "channel is gone"),
    (
        "googlechat",
        answer(429, {"error": {"status": "RESOURCE_EXHAUSTED", "message": "x"}}),
        RETRY,
        60,
        "asked too often",
    ),
    ("googlechat", answer(403, {"error": {"status": "PERMISSION_DENIED", "message": "x"}}), REFUSED, None, "allow it"),
    ("googlechat", answer(404, {"error": {"status": "NOT_FOUND", "message": "x"}}), REFUSED, None, "is gone"),
    (
        "telegram",
        answer(429, {"ok": False, "error_code": 429, "description": "x", "parameters": {"retry_after": 35}}),
        RETRY,
        35,
        "asked too often",
    ),
    (
        "telegram",
        answer(400, {"ok": False, "description": "Bad Request: chat not found"}),
        REFUSED,
        None,
        "chat_id is wrong",
    ),
    ("telegram", answer(403, {"ok": False, "description": "Forbidden: bot was kicked"}), REFUSED, None, "add the bot"),
    ("telegram", answer(200, {"ok": False, "description": "no"}), REFUSED, None, "Telegram: no"),
    ("telegram", answer(502, "<html>Bad Gateway</html>"), RETRY, None, "502"),
    ("feishu", answer(200, {"code": 11232, "msg": "frequency limited"}), RETRY, None, "asked too often"),
    ("feishu", answer(200, {"code": 9499, "msg": "too many request"}), RETRY, None, "asked too often"),
    ("feishu", answer(200, {"code": 9499, "msg": "Bad Request"}), REFUSED, None, "does not take"),
    ("feishu", answer(200, {"code": 19021, "msg": "sign match fail"}), REFUSED, None, "secret is wrong"),
    ("feishu", answer(200, {"code": 19022, "msg": "Ip Not Allowed"}), REFUSED, None, "IP addresses"),
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
    ("wecom", answer(200, {"errcode": 45009, "errmsg": "api freq out of limit"}), RETRY, None, "asked too often"),
    ("wecom", answer(200, {"errcode": 45033, "errmsg": "concurrent"}), RETRY, None, "asked too often"),
    ("wecom", answer(200, {"errcode": 93000, "errmsg": "invalid webhook url"}), REFUSED, None, "(93000)"),
    ("wecom", answer(200, {"errcode": 40008, "errmsg": "invalid message type"}), REFUSED, None, "does not take"),
    ("wecom", answer(200, {"errcode": 40058, "errmsg": "invalid parameter"}), REFUSED, None, "does not take"),
    ("wecom", answer(200, {"errcode": 6000, "errmsg": "conflict"}), REFUSED, None, "busy"),
    *((name, PAGE, RETRY, None, "HTML page") for name in SERVICES),
]


class Bot:
    """A bot of a service, and registrations that tell it."""

    def __init__(self, service: ChatService, runtime: Runtime, make: Callable[..., Registration], time: Any) -> None:
        self.service = service
        self._runtime, self._make, self._time = runtime, make, time
        self._made = 0

    def owe(self, *jobs: Job, target: str | None = None, **fields: Any) -> Registration:
        """As the API registers."""
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
        made = self._make(at=self._time.now, **usual | fields)
        self._runtime.stores.registrations.add(made, rate=self._runtime.config.format_catalog.rate(rules.name))
        return made


@pytest.fixture
def bot_of(runtime: Runtime, registration, time) -> Iterator[Callable[[str], Bot]]:
    started = []

    def start(name: str) -> Bot:
        service = ChatService(SERVICES[name], time)
        started.append(service)
        return Bot(service, runtime, registration, time)

    yield start
    for service in started:
        service.close()


@pytest.fixture
def attempts(stores: Stores, deliveries_of) -> Callable[[], list[dict[str, Any]]]:
    """Of the only delivery."""

    def read() -> list[dict[str, Any]]:
        (delivery,) = deliveries_of()
        found = stores.deliveries.get("t", delivery.id)
        assert found is not None
        return found[1]

    return read


FAILED = Job("j" * 32, JobState.FAILED, phone_id="p" * 32, error_code="CPS.0003", error_msg=HOSTILE)
JOBS = {
    "a success": {},
    "a failure in hostile words": {"ended": (FAILED,), "metadata": {HOSTILE[:200]: HOSTILE[:2_000], "n": 1}},
    "a group": {
        "ended": tuple(Job(f"{n:032}", JobState.FAILED, error_msg=HOSTILE) for n in range(60)),
        "notify": Notify.ALL,
    },
    "a link": {"link": "https://console.example/jobs/{job_id}?a=b&c=d"},
    "Chinese": {"language": "zh-CN", "ended": (FAILED,)},
}


@pytest.mark.parametrize("told", JOBS)
@pytest.mark.parametrize("name", SERVICES)
def test_each_service_takes_the_message(
    delivering: DeliveryWorker, turn, bot_of, attempts, deliveries_of, name: str, told: str
) -> None:
    bot = bot_of(name)
    bot.owe(**JOBS[told])
    assert turn(delivering) == 1
    assert bot.service.refused == []
    assert [attempt["verdict"] for attempt in attempts()] == ["delivered"]
    assert deliveries_of()[0].state is DeliveryState.DELIVERED


@pytest.mark.parametrize(("name", "reply", "verdict", "wait", "words"), ROWS)
def test_each_way_to_say_no_is_understood(
    delivering: DeliveryWorker,
    turn,
    bot_of,
    attempts,
    time,
    name: str,
    reply: Reply,
    verdict: Verdict,
    wait: float | None,
    words: str,
) -> None:
    bot = bot_of(name)
    bot.owe()
    bot.service.says = [reply]
    turn(delivering)
    (attempt,) = attempts()
    assert (attempt["verdict"], attempt["status_code"]) == (verdict, reply[0])
    assert words in attempt["said"]
    assert TOKEN not in str(attempt)
    if verdict is GONE:
        assert attempt["next_at"] is None
        return
    waited = attempt["next_at"] / 1000 - time.now.timestamp()
    assert max(30, wait or 0) <= waited <= max(33.1, wait or 0)
    time.now += (wait or 0) * SECOND - SECOND
    assert turn(delivering) == 0
    time.now += 35 * SECOND
    turn(delivering)
    assert attempts()[-1]["verdict"] == "delivered"


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if service.secret])
def test_a_wrong_secret_is_told_as_such(delivering: DeliveryWorker, turn, bot_of, attempts, name: str) -> None:
    bot = bot_of(name)
    bot.owe(secret="SECanother")
    turn(delivering)
    assert attempts()[0]["verdict"] == "refused"
    assert "the secret is wrong" in attempts()[0]["said"]


def test_teams_has_accepted_what_it_does_not_show_yet(delivering: DeliveryWorker, turn, bot_of, attempts) -> None:
    bot_of("teams").owe()
    turn(delivering)
    assert "accepted" in attempts()[0]["said"]


def test_a_chat_that_has_moved_is_told_there_at_once_and_from_now_on(
    delivering: DeliveryWorker, turn, bot_of, attempts, stores: Stores, time, deliveries_of
) -> None:
    bot = bot_of("telegram")
    target = SERVICES["telegram"].target.replace("chat_id=-1", f"chat_id={OLD_CHAT}")
    made = bot.owe(target=target)
    turn(delivering)
    assert [message["chat_id"] for message in bot.service.messages] == [NEW_CHAT]
    (attempt,) = attempts()
    assert (attempt["number"], attempt["verdict"], attempt["status_code"]) == (1, "delivered", 200)
    known = stores.registrations.get("t", made.id)
    assert known is not None
    assert known[0].callback_url.endswith(f"chat_id={NEW_CHAT}")
    assert known[0].secret == ""
    stores.deliveries.redeliver("t", deliveries_of()[0].id, time())
    time.now += 10 * SECOND
    turn(delivering)
    assert len(bot.service.callbacks) == 3  # nobody asks the old one any more


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if service.pace])
def test_a_bot_is_never_told_too_often(delivering: DeliveryWorker, turn, bot_of, states, time, name: str) -> None:
    """After an idle while, and with messages that cannot be merged, as each has its own link."""
    bot = bot_of(name)
    bot.owe()
    turn(delivering)
    time.now += 300 * SECOND
    most, window = SERVICES[name].pace
    count = min(most + 6, 45)
    for number in range(count):
        bot.owe(link=f"https://console.example/{number}")
    until = time.now + count * 1.2 * window / most * SECOND + 2 * SECOND
    while time.now < until:
        turn(delivering)
        time.now += 0.1 * SECOND
    assert (bot.service.refused, bot.service.times.bans) == ([], 0)
    assert states() == [DeliveryState.DELIVERED] * (count + 1)
    assert len(bot.service.messages) == count + 1


def test_who_is_banned_is_left_alone_until_the_ban_is_over(
    delivering: DeliveryWorker, turn, bot_of, states, time
) -> None:
    """Somebody else uses the bot as well."""
    bot = bot_of("dingtalk")
    bot.owe()
    bot.service.says = [SERVICES["dingtalk"].crowded]
    turn(delivering)
    bot.owe()
    time.now += 599 * SECOND
    assert turn(delivering) == 0
    time.now += 2 * SECOND
    assert turn(delivering) == 1
    assert states() == [DeliveryState.DELIVERED] * 2
    assert len(bot.service.messages) == 1


def test_what_is_refused_for_good_is_tried_three_times(
    delivering: DeliveryWorker, turn, bot_of, deliveries_of, time
) -> None:
    bot = bot_of("wecom")
    bot.owe()
    bot.service.says = [SERVICES["wecom"].malformed] * 9
    for _ in range(10):
        turn(delivering)
        time.now += 200 * SECOND
    (delivery,) = deliveries_of()
    assert (delivery.death, delivery.attempts) == (Death.REFUSED, 3)
