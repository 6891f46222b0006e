"""The registry of formats, and the format of a URL."""

import pytest

from app.domain.errors import InvalidField
from app.formats.format import Format, ServiceAnswer
from app.formats.registry import FORMATS, find, for_url
from app.formats.verdicts import by_status_alone, describe, seconds
from tests.support.message_samples import url

HOSTS = [
    ("https://hooks.slack.com/services/T/B/x", "slack"),
    ("https://prod-1.westeurope.logic.azure.com/workflows/w?sig=s", "teams"),
    ("https://default1.2.environment.api.powerplatform.com/powerautomate/x?sig=s", "teams"),
    ("https://DEFAULT1.2.environment.API.powerplatform.com.:443/powerautomate/x?sig=s", "teams"),
    ("https://x.api.powerplatform.com/workflows/w?sig=s", "teams"),
    ("https://x.api.gov.powerplatform.us/workflows/w?sig=s", "teams"),
    ("https://prod.usgovtexas.logic.azure.us/workflows/w?sig=s", "teams"),
    ("https://prod.chinaeast2.logic.azure.cn/workflows/w?sig=s", "teams"),
    ("https://x.flow.microsoft.com/workflows/w?sig=s", "teams"),
    ("https://logic.azure.us.evil.example/w?sig=s", "standard"),
    ("https://bot.example/workflows/1", "standard"),
    ("https://acme.webhook.office.com/webhookb2/1", "teams"),
    ("https://outlook.office.com/webhook/1", "teams"),
    ("https://discord.com/api/webhooks/1/t", "discord"),
    ("https://canary.discord.com/api/v9/webhooks/1/t", "discord"),
    ("https://chat.googleapis.com/v1/spaces/A/messages?key=k&token=t", "googlechat"),
    ("https://api.telegram.org/bot1:a/sendMessage?chat_id=1", "telegram"),
    ("https://open.feishu.cn/open-apis/bot/v2/hook/1", "feishu"),
    ("https://open.larksuite.com/open-apis/bot/v2/hook/1", "feishu"),
    ("https://oapi.dingtalk.com/robot/send?access_token=t", "dingtalk"),
    ("https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=k", "wecom"),
    ("https://bot.example/hooks/1", "standard"),
    ("https://slack.com.evil.example/services/1", "standard"),
    ("https://nothooks.slack.com/services/1", "standard"),
    ("https://outlook.office.com/calendar", "standard"),
    ("https://discord.com/channels/1", "standard"),
]


@pytest.mark.parametrize(("raw", "name"), HOSTS)
def test_the_host_tells_the_format(raw: str, name: str) -> None:
    assert for_url(url(raw)).name == name


@pytest.mark.parametrize(
    "path", ["/workflows/w/triggers/manual?sp=x&sig=s", "/Workflows/w?sig=s", "/api/f/triggers/t/invoke?sig=s"]
)
def test_a_flow_at_an_unknown_host_is_asked_for_its_format(path: str) -> None:
    with pytest.raises(InvalidField) as refused:
        for_url(url(f"https://flows.cloud.example{path}"))
    assert refused.value.pointer == "/format"
    assert refused.value.hint is not None
    assert "teams" in refused.value.hint


def test_each_format_is_found_by_its_name_and_no_other_is() -> None:
    assert [find(each.name) for each in FORMATS] == list(FORMATS)
    assert len({each.name for each in FORMATS}) == len(FORMATS) == 12
    assert find("auto") is None


BOTS = [
    ("slack", "https://hooks.slack.com/services/T/B/x", "https://hooks.slack.com/services/T/B/y"),
    ("teams", "https://x.logic.azure.com/workflows/1?sig=s", "https://x.logic.azure.com/workflows/2?sig=s"),
    ("discord", "https://discord.com/api/webhooks/1/t", "https://discord.com/api/webhooks/2/t"),
    ("discord", "https://discord.example/other", "https://discord.example/another"),
    ("mattermost", "https://chat.example/hooks/1", "https://chat.example/hooks/2"),
    ("rocketchat", "https://chat.example/hooks/1/t", "https://chat.example/hooks/2/t"),
    (
        "googlechat",
        "https://chat.googleapis.com/v1/spaces/A/messages",
        "https://chat.googleapis.com/v1/spaces/B/messages",
    ),
    ("telegram", "https://telegram.example/a?chat_id=1", "https://telegram.example/b?chat_id=1"),
    ("feishu", "https://open.feishu.cn/open-apis/bot/v2/hook/1", "https://open.feishu.cn/open-apis/bot/v2/hook/2"),
    (
        "dingtalk",
        "https://oapi.dingtalk.com/robot/send?access_token=t",
        "https://oapi.dingtalk.com/robot/send?access_token=u",
    ),
    ("wecom", "https://qyapi.weixin.qq.com/send?key=k", "https://qyapi.weixin.qq.com/send?key=l"),
]


@pytest.mark.parametrize(("name", "one", "other"), BOTS)
def test_bots_of_one_host_are_told_apart(name: str, one: str, other: str) -> None:
    form = find(name)
    assert form
    assert form.bot(url(one)) != form.bot(url(other))
    assert find("standard").bot(url(one)) == ""  # type: ignore[union-attr]


def test_only_what_has_a_rate_of_its_own_is_merged_and_machines_never() -> None:
    assert {each.name for each in FORMATS if each.digest > 1} >= {"dingtalk", "wecom", "telegram"}
    assert all(each.rate_limit for each in FORMATS if each.digest > 1)
    assert all(each.digest == 1 and each.rate_limit is None for each in FORMATS if each.machine)


def test_what_services_say_is_read_with_care() -> None:
    assert seconds("1.5") is not None
    assert seconds(-1) is seconds("x") is seconds(None) is seconds(1e300) is seconds("nan") is None
    assert describe("Slack", "a\nb\u202ec", 1) == "Slack: a bc (1)"
    assert describe("Slack", None) == "Slack: no reason given"
    assert by_status_alone(ServiceAnswer(429, {}, b"")).overloaded


@pytest.mark.parametrize("form", [form for form in FORMATS if not form.machine], ids=lambda form: form.name)
@pytest.mark.parametrize("headers", [{"content-TYPE": "text/html; charset=utf-8"}, {}])
@pytest.mark.parametrize("page", [b"\n <!DOCTYPE html><title>Sign in</title>", b"<HTML>"])
def test_a_login_page_is_no_success_anywhere(form: Format, headers: dict[str, str], page: bytes) -> None:
    found = form.judge(ServiceAnswer(200, headers, page))
    assert (found.verdict, found.maybe_delivered) == ("retry", True)
