"""Simulated chat services: each checks messages by its own rules and has its own error answers.

They follow the documented shapes, sizes, signatures and rate limits, and share no code with app/formats.
"""

import base64
import hashlib
import hmac
import json
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, unquote_to_bytes, urlsplit

from tests.support.receiver import Callback, Receiver

Reply = tuple[int, dict[str, str], bytes]
TOKEN = "t0ken-of-the-bot"
SECRET = "SECs3cret of the bot"  # with a space: it is part of the HMAC key as it is
HOUR_S = 3_600


def answer(status: int, body: object, **headers: str) -> Reply:
    text = body if isinstance(body, str) else json.dumps(body)
    kind = "text/plain" if isinstance(body, str) else "application/json"
    return (
        status,
        {"Content-Type": kind} | {name.replace("_", "-"): value for name, value in headers.items()},
        text.encode(),
    )


class MessageRefused(Exception):
    """The service refuses the message with `reply`."""

    def __init__(self, reply: Reply, reason: str) -> None:
        super().__init__(reason)
        self.reply = reply


@dataclass(frozen=True)
class Service:
    """target: path and query of a bot. check: whether a message fits at a time; it may raise MessageRefused.

    pace: the rate limit, as messages and seconds. ban_s: how long the service refuses all messages after too many.
    """

    name: str
    target: str
    good: Reply
    malformed: Reply
    overloaded: Reply
    check: Callable[[Callback, datetime], bool]
    pace: tuple[int, float] | None = None
    ban_s: float = 0
    secret: str = ""


@dataclass
class Times:
    """The times of the messages in the window of the rate limit, and the current ban."""

    recent: deque[float] = field(default_factory=deque)
    banned_until: float = 0.0
    bans: int = 0


class ChatService(Receiver):
    """says: the next answers, whatever is sent. refused: the reason of each refusal."""

    def __init__(self, service: Service, clock: Callable[[], datetime]) -> None:
        super().__init__()
        self.service = service
        self.says: list[Reply] = []
        self.refused: list[str] = []
        self.messages: list[Any] = []
        self.times = Times()
        self._clock = clock
        self.url = self.url.removesuffix("/hooks/s3cret-path") + service.target

    def answer_to(self, callback: Callback) -> Reply:
        with self._lock:
            self.callbacks.append(callback)
            if self.says:
                return self.says.pop(0)
            return self._check(callback)

    def _check(self, callback: Callback) -> Reply:
        service = self.service
        if not self._within_rate_limit():
            self.refused.append("too often")
            return service.overloaded
        try:
            fits = service.check(callback, self._clock())
        except MessageRefused as refusal:
            self.refused.append(str(refusal))
            return refusal.reply
        except (ValueError, KeyError, TypeError, IndexError) as error:
            self.refused.append(repr(error))
            return service.malformed
        if not fits:
            self.refused.append("shape or size")
            return service.malformed
        self.messages.append(json.loads(callback.body))
        return service.good

    def _within_rate_limit(self) -> bool:
        if self.service.pace is None:
            return True
        most, window = self.service.pace
        now, times = self._clock().timestamp(), self.times
        if now < times.banned_until:
            return False
        while times.recent and times.recent[0] <= now - window:
            times.recent.popleft()
        times.recent.append(now)
        if len(times.recent) <= most:
            return True
        times.banned_until, times.bans = now + self.service.ban_s, times.bans + 1
        return False


MENTION = re.compile(r"<[!@#]")


CALLS = re.compile(r"<at|<users/|@(?:all|everyone|channel|here)\b")


def _plain(text: str, *, limit: int = 2_000, calls: re.Pattern[str] = CALLS) -> bool:
    """Whether this is a plain text without the message's link, which mentions nobody."""
    return 0 < len(text.encode()) <= limit and "console.example" not in text and not calls.search(text)


def _slack(callback: Callback, _: datetime) -> bool:
    message = json.loads(callback.body)
    if message.keys() == {"text"}:
        return _plain(message["text"], calls=MENTION)
    blocks = [*message["blocks"], *(block for one in message["attachments"] for block in one["blocks"])]
    texts = [block["text"] for block in blocks if "text" in block]
    fields = [text for block in blocks for text in block.get("fields", [])]
    headers = [block["text"]["text"] for block in blocks if block["type"] == "header"]
    return (
        len(callback.body) <= 13_000
        and bool(message["text"])
        and not MENTION.search(callback.body.decode())
        and all(re.fullmatch("#[0-9A-Fa-f]{6}", one["color"]) for one in message["attachments"])
        # The button of an incoming webhook shows an error to who clicks it.
        and {block["type"] for block in blocks} <= {"header", "section"}
        and all(len(header) <= 150 for header in headers)
        and all(len(text["text"]) <= 3_000 for text in texts)
        and all(len(text["text"]) <= 2_000 for text in fields)
        and all(len(block.get("fields", [])) <= 10 for block in blocks)
    )


def _teams(callback: Callback, _: datetime) -> bool:
    if callback.path != TEAMS:  # byte for byte: the signature covers the URL
        raise MessageRefused(answer(401, {"error": {"code": "InvalidSharedAccessSignature", "message": "sig"}}), "sig")
    message = json.loads(callback.body)
    (attachment,) = message["attachments"]
    card = attachment["content"]
    if "fallbackText" not in card:
        return all(block.keys() == {"type", "text", "wrap"} and _plain(block["text"]) for block in card["body"])
    return (
        message["type"] == "message"
        and attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
        and (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
        and {part["type"] for part in card["body"]} <= {"TextBlock", "FactSet"}
        and len(callback.body) <= 28_672
    )


def _discord(callback: Callback, _: datetime) -> bool:
    if not callback.path.startswith("/api/v10/webhooks/1/"):
        raise MessageRefused(answer(404, {"message": "Unknown Webhook", "code": 10015}), callback.path)
    message = json.loads(callback.body)
    if "content" in message:
        return message["allowed_mentions"] == {"parse": []} and _plain(message["content"])
    (embed,) = message["embeds"]
    fields = embed.get("fields", [])
    texts = [
        embed["title"],
        embed.get("description", ""),
        *(text for one in fields for text in (one["name"], one["value"])),
    ]
    return (
        message["allowed_mentions"] == {"parse": []}
        and len(embed["title"]) <= 256
        and len(embed.get("description", "")) <= 4_096
        and len(fields) <= 25
        and all(0 < len(one["name"]) <= 256 and 0 < len(one["value"]) <= 1_024 for one in fields)
        and sum(map(len, texts)) <= 6_000
    )


def _attachments(callback: Callback, _: datetime) -> bool:
    message = json.loads(callback.body)
    if message.keys() == {"text"}:
        return _plain(message["text"])
    (attachment,) = message["attachments"]
    text = json.dumps(message, ensure_ascii=False)
    calls = re.search("@(all|channel|here)\\b", text)
    return bool(attachment["title"]) and len(attachment["title"]) <= 1_024 and len(text) <= 16_383 and not calls


def _googlechat(callback: Callback, _: datetime) -> bool:
    query = parse_qs(urlsplit(callback.path).query)
    if query.get("token") != [TOKEN]:
        raise MessageRefused(answer(401, {"error": {"status": "UNAUTHENTICATED", "message": "no"}}), "token")
    message = json.loads(callback.body)
    if message.keys() == {"text"}:
        return _plain(message["text"])
    (card,) = message["cardsV2"]
    widgets = [widget for section in card["card"]["sections"] for widget in section["widgets"]]
    kinds = {kind for widget in widgets for kind in widget}
    return len(callback.body) <= 32_000 and kinds <= {"textParagraph", "decoratedText", "buttonList"}


class _TelegramsHtml(HTMLParser):
    """Parses Telegram's HTML: few tags are allowed, and each must be closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("b", "i", "code", "a"):
            raise ValueError(f"unsupported start tag {tag}")
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open.pop() != tag:
            raise ValueError(f"unmatched end tag {tag}")

    def handle_data(self, data: str) -> None:
        self.text += data


OLD_CHAT, NEW_CHAT = "-100", "-100200"


def _telegram(callback: Callback, _: datetime) -> bool:
    if urlsplit(callback.path).path != f"/bot1:{TOKEN}/sendMessage":
        raise MessageRefused(answer(404, {"ok": False, "error_code": 404, "description": "Not Found"}), callback.path)
    message = json.loads(callback.body)
    if message["chat_id"] == OLD_CHAT:
        description = "Bad Request: group chat was upgraded to a supergroup chat"
        moved = {
            "ok": False,
            "error_code": 400,
            "description": description,
            "parameters": {"migrate_to_chat_id": int(NEW_CHAT)},
        }
        raise MessageRefused(answer(400, moved), "moved")
    buttons = message.get("reply_markup", {"inline_keyboard": []})["inline_keyboard"]
    if any("." not in (urlsplit(button["url"]).hostname or "") for row in buttons for button in row):
        wrong = "Bad Request: inline keyboard button URL is invalid: Wrong HTTP URL"
        raise MessageRefused(answer(400, {"ok": False, "error_code": 400, "description": wrong}), "button")
    if "parse_mode" not in message:
        return not buttons and _plain(message["text"])
    parsed = _TelegramsHtml()
    parsed.feed(message["text"])
    parsed.close()
    return message["parse_mode"] == "HTML" and not parsed.open and 0 < len(parsed.text) <= 4_096


def _feishu(callback: Callback, now: datetime) -> bool:
    message = json.loads(callback.body)
    key = f"{message['timestamp']}\n{SECRET}".encode()
    expected = base64.b64encode(hmac.new(key, b"", hashlib.sha256).digest()).decode()
    fresh = abs(now.timestamp() - int(message["timestamp"])) < HOUR_S
    if message["sign"] != expected or not fresh:
        raise MessageRefused(
            answer(200, {"code": 19021, "msg": "sign match fail or timestamp is not within one hour"}), "sign"
        )
    if message["msg_type"] == "text":
        return _plain(message["content"]["text"])
    header = message["card"]["header"]
    return (
        message["msg_type"] == "interactive"
        and header["template"] in ("green", "red", "grey", "orange", "blue")
        and len(callback.body) <= 20 * 1024
        and "<at" not in callback.body.decode()
    )


def _dingtalk(callback: Callback, now: datetime) -> bool:
    # Decoded by hand: parse_qs would decode `+` as a space.
    pairs = (pair.partition("=") for pair in urlsplit(callback.path).query.split("&"))
    query = {name: unquote_to_bytes(value).decode() for name, _, value in pairs}
    if query["access_token"] != TOKEN:
        raise MessageRefused(answer(200, {"errcode": 300001, "errmsg": "token is not exist"}), "token")
    content = f"{query['timestamp']}\n{SECRET}".encode()
    expected = base64.b64encode(hmac.new(SECRET.encode(), content, hashlib.sha256).digest()).decode()
    if query["sign"] != expected:
        raise MessageRefused(answer(200, {"errcode": 310000, "errmsg": "sign not match"}), "sign")
    if abs(now.timestamp() * 1000 - int(query["timestamp"])) > HOUR_S * 1000:
        raise MessageRefused(answer(200, {"errcode": 310000, "errmsg": "invalid timestamp"}), "timestamp")
    message = json.loads(callback.body)
    content_of_message = message[message["msgtype"]]
    if message["msgtype"] == "text":
        return _plain(content_of_message["content"])
    return (
        message["msgtype"] in ("markdown", "actionCard")
        and bool(content_of_message["title"])
        and len(callback.body) <= 20_000
    )


def _wecom(callback: Callback, _: datetime) -> bool:
    if parse_qs(urlsplit(callback.path).query)["key"] != [TOKEN]:
        raise MessageRefused(answer(200, {"errcode": 93000, "errmsg": "invalid webhook url"}), "key")
    message = json.loads(callback.body)
    if message["msgtype"] == "text":
        return _plain(message["text"]["content"], limit=2_048)
    content = message["markdown"]["content"]
    return len(content.encode()) <= 4_096 and b"\\u" not in callback.body


TEAMS = (
    f"/workflows/x/triggers/manual/paths/invoke?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig={TOKEN}"
)
REFUSED_BY_CODE = answer(200, {"errcode": 40058, "errmsg": "invalid parameter"})

SERVICES = {
    service.name: service
    for service in (
        Service(
            "slack",
            f"/services/T0/B0/{TOKEN}",
            good=answer(200, "ok"),
            malformed=answer(400, "invalid_payload"),
            overloaded=answer(429, "rate_limited", Retry_After="30"),
            check=_slack,
            pace=(1, 1.0),
        ),
        Service(
            "teams",
            TEAMS,
            good=answer(202, ""),
            malformed=answer(400, {"error": {"code": "TriggerInputSchemaMismatch", "message": "schema"}}),
            overloaded=answer(429, {"error": {"code": "WorkflowTriggersThrottled", "message": "throttled"}}),
            check=_teams,
            pace=(4, 1.0),
        ),
        Service(
            "discord",
            f"/api/webhooks/1/{TOKEN}",
            good=answer(204, ""),
            malformed=answer(400, {"code": 50035, "message": "Invalid Form Body"}),
            overloaded=answer(429, {"message": "You are being rate limited.", "retry_after": 1.5, "global": False}),
            check=_discord,
            pace=(5, 2.0),
        ),
        Service(
            "mattermost",
            f"/hooks/{TOKEN}",
            good=answer(200, "ok"),
            malformed=answer(400, {"id": "web.incoming_webhook.parse.app_error", "message": "Unable to parse"}),
            overloaded=answer(429, "limit exceeded", Retry_After="7"),
            check=_attachments,
        ),
        Service(
            "rocketchat",
            f"/hooks/1/{TOKEN}",
            good=answer(200, {"success": True}),
            malformed=answer(200, {"success": False, "error": "error-invalid-message"}),
            overloaded=answer(429, {"success": False, "error": "error-too-many-requests"}),
            check=_attachments,
        ),
        Service(
            "googlechat",
            f"/v1/spaces/S/messages?key=k&token={TOKEN}",
            good=answer(200, {"name": "spaces/S/messages/1"}),
            malformed=answer(400, {"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "Invalid JSON"}}),
            overloaded=answer(429, {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Quota"}}),
            check=_googlechat,
            pace=(60, 60.0),
        ),
        Service(
            "telegram",
            f"/bot1:{TOKEN}/sendMessage?chat_id=-1",
            good=answer(200, {"ok": True, "result": {"message_id": 1}}),
            malformed=answer(400, {"ok": False, "error_code": 400, "description": "Bad Request: can't parse entities"}),
            overloaded=answer(
                429,
                {"ok": False, "error_code": 429, "description": "Too Many Requests", "parameters": {"retry_after": 35}},
            ),
            check=_telegram,
            pace=(20, 60.0),
        ),
        Service(
            "feishu",
            f"/open-apis/bot/v2/hook/{TOKEN}",
            good=answer(200, {"code": 0, "msg": "success", "data": {}}),
            malformed=answer(200, {"code": 9499, "msg": "Bad Request"}),
            overloaded=answer(200, {"code": 11232, "msg": "frequency limited"}),
            check=_feishu,
            pace=(100, 60.0),
            secret=SECRET,
        ),
        Service(
            "dingtalk",
            f"/robot/send?access_token={TOKEN}",
            good=answer(200, {"errcode": 0, "errmsg": "ok"}),
            malformed=answer(200, {"errcode": 40035, "errmsg": "missing parameter json"}),
            overloaded=answer(200, {"errcode": 130101, "errmsg": "send too fast, exceed 20 times per minute"}),
            check=_dingtalk,
            pace=(20, 60.0),
            ban_s=600,
            secret=SECRET,
        ),
        Service(
            "wecom",
            f"/cgi-bin/webhook/send?key={TOKEN}",
            good=answer(200, {"errcode": 0, "errmsg": "ok"}),
            malformed=REFUSED_BY_CODE,
            overloaded=answer(200, {"errcode": 45009, "errmsg": "api freq out of limit"}),
            check=_wecom,
            pace=(20, 60.0),
        ),
    )
}
