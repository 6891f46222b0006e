"""Hostile text in every field and format: each message is valid, within its limit, and mentions nobody."""

import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from slack_sdk.models.blocks import Block

from app.domain.event import DestinationChange, Event, Group, OwnEventType
from app.domain.job import Job, JobState
from app.formats import markdown
from app.formats.format import Format, Language
from app.formats.registry import FORMATS
from app.formats.sanitize import ZERO_WIDTH_SPACE, plain, units
from tests.support.message_judges import complaints
from tests.support.message_samples import NOW, REGISTRATION, options, rendered

CHAT = [each for each in FORMATS if not each.machine]
ENDED = [state for state in JobState if state.ended]
OURS = "https://console.example/"
LINK = OURS + "jobs/{job_id}?phone={phone_id}"
MARKS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"

SNIPPETS = [
    "<!channel>",
    "<!here|here>",
    "<@U012AB3CD>",
    "<#C1>",
    "<https://evil.example|click>",
    "@everyone",
    "@all",
    "@channel",
    "@here",
    "<at>everyone</at>",
    '<at user_id="all">x</at>',
    "<at id=all></at>",
    "<@all>",
    "<users/all>",
    "[click](https://evil.example)",
    "![x](https://evil.example/x.png)",
    "`code`",
    "```\nblock\n```",
    "**bold** _it_ ~~no~~ ||spoiler||",
    "# heading",
    "- item",
    "1. item",
    "> quote",
    "<b>bold</b><script>alert(1)</script>",
    '<font color="warning">x</font>',
    "&lt;at&gt; &amp; &#60;",
    "\\",
    "\\`",
    "{{DATE(2020-01-01T00:00:00Z)}}",
    '"},{"text":"x',
    "line\r\nfeed\u2028\u2029\x00\x1b[31m\x85",
    MARKS,
    "abc\u202egpj.exe",
]
LONG = ["龘", "👩‍👩‍👧‍👦", "&", "\"'", "*_`", "@", "<", "x"]
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
LONGER = st.builds(lambda text, times: text * times, st.sampled_from(LONG), st.integers(1, 700))
TEXT = st.lists(st.sampled_from(SNIPPETS) | ANY_TEXT | LONGER, min_size=1, max_size=3).map("".join)
MAYBE = st.none() | TEXT
JOBS = st.builds(
    Job,
    job_id=MAYBE,
    state=st.sampled_from(ENDED),
    request_id=MAYBE,
    phone_id=MAYBE,
    server_id=MAYBE,
    begin_time=MAYBE,
    end_time=MAYBE,
    error_code=MAYBE,
    error_msg=MAYBE,
    execute_msg=MAYBE,
)
GROUPS = st.builds(
    lambda jobs, more: Group(dict.fromkeys(ENDED, more), tuple(jobs), truncated=True),
    st.lists(JOBS, max_size=6).map(lambda jobs: jobs * 7),
    st.integers(1, 1_000),
)
CHANGES = st.builds(
    DestinationChange,
    type=st.sampled_from([OwnEventType.DESTINATION_DISABLED, OwnEventType.DESTINATION_REOPENED]),
    tenant=TEXT,
    destination=TEXT,
    since=st.just(NOW),
    failures=st.integers(0, 10**9),
    held=st.integers(0, 10**9),
)
METADATA = st.dictionaries(TEXT, TEXT | st.integers() | st.lists(TEXT, max_size=2), max_size=6)
EVENTS = st.builds(
    Event,
    id=st.just("evt_1"),
    registration_id=st.just(REGISTRATION),
    project=TEXT,
    about=JOBS | GROUPS | CHANGES | st.none(),
    observed_at=st.just(NOW),
    metadata=METADATA,
)


def strings(body: Any) -> Iterator[str]:
    match body:
        case dict():
            for value in body.values():
                yield from strings(value)
        case list():
            for value in body:
                yield from strings(value)
        case str():
            yield body


def values(body: Any, *names: str) -> Iterator[str]:
    """All strings with these keys, at any depth."""
    match body:
        case dict():
            for name, value in body.items():
                if name in names and isinstance(value, str):
                    yield value
                else:
                    yield from values(value, *names)
        case list():
            for value in body:
                yield from values(value, *names)


def only_text_and_our_links(markdown: str) -> None:
    """Each line is, for markdown-it, a paragraph of text without links other than ours."""
    for line in filter(None, markdown.split("\n")):
        tokens = MarkdownIt("commonmark").enable("strikethrough").parse(line)
        assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"], line
        for token in tokens[1].children or ():
            assert token.type in {"text", "link_open", "link_close"}, line
            assert str(token.attrGet("href") or OURS).startswith(OURS), line


class Html(HTMLParser):
    """The tags, links and text of HTML, as a browser reads them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.text = self.outside_code = ""
        self._in_code = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.tags.add(tag)
        self.links += [value for name, value in attributes if name == "href"]
        self._in_code = tag == "code"

    def handle_endtag(self, tag: str) -> None:
        self._in_code = False

    def handle_data(self, data: str) -> None:
        self.text += data
        if not self._in_code:
            self.outside_code += data


def slack(body: Any, raw: bytes) -> None:
    assert len(raw) <= 13_000
    blocks = body["blocks"] + [block for each in body.get("attachments", ()) for block in each["blocks"]]
    for block in blocks:
        parsed = Block.parse(block)
        assert parsed is not None
        parsed.validate_json()
    for text in values(blocks[1:], "text"):
        bare = re.sub(rf"<{OURS}[^|<>]*\|[^<>]*>", "", text)
        assert "<" not in bare
        assert ">" not in bare
        # Outside code spans, only our own labels have markup.
        outside = re.sub(r"`[^`]*`", "", re.sub(r"\A\*[^*\n]+\*\n", "", bare))
        assert not set(outside) & set("*_~`"), outside
    assert not re.search("<[^ ]", body["text"])


def teams(body: Any, raw: bytes) -> None:
    assert len(raw) <= 20_000
    for text in values(body["attachments"][0]["content"]["body"], "text", "title", "value"):
        only_text_and_our_links(text)
        assert not re.search(r"<(?!\u200b)", text)
        assert "{{" not in text


def discord(body: Any, raw: bytes) -> None:
    assert body["allowed_mentions"] == {"parse": []}
    (embed,) = body["embeds"]
    fields = embed.get("fields", [])
    assert units(embed["title"]) <= 256
    assert units(embed.get("description", "")) <= 4_096
    assert len(fields) <= 25
    assert all(0 < units(field["name"]) <= 256 and 0 < units(field["value"]) <= 1_024 for field in fields)
    assert sum(map(units, values(embed, "title", "description", "name", "value"))) <= 6_000
    for text in values(embed, "title", "description", "name", "value"):
        only_text_and_our_links(text)
        assert not re.search(r"[@<](?!\u200b)", text)


def mattermost(body: Any, raw: bytes) -> None:
    assert len(raw.decode()) <= 16_383
    for text in values(body, "title", "text", "value", "fallback"):
        assert not re.search(r"[@<](?!\u200b)", text)
        only_text_and_our_links(re.sub(r"\A([0-9]{1,9})([.)])", r"\1", text))


def rocketchat(body: Any, raw: bytes) -> None:
    (attachment,) = body["attachments"]
    assert len(attachment["title"]) <= 1_024
    for text in values(attachment, "title", "text", "value", "fallback"):
        bare = re.sub(rf"\]\({OURS}[^()]*\)", "", text)
        assert "](" not in bare
        assert not re.search(r"[@<](?!\u200b)", bare)
        assert not re.search(r"(?<!\\)[*_~`#]", bare)


def googlechat(body: Any, raw: bytes) -> None:
    assert len(raw) <= 32_000
    for text in values(body["cardsV2"], "text"):
        html = Html(text)
        assert html.tags <= {"b", "font", "br", "a"}
        assert all(link.startswith(OURS) for link in html.links)
    assert not any(set(label) & set("<>") for label in values(body, "topLabel"))
    assert not re.search(r"[@<](?!\u200b)", body["fallbackText"])


def telegram(body: Any, raw: bytes) -> None:
    assert units(body["text"]) <= 4_096
    html = Html(body["text"])
    assert html.tags <= {"b", "code", "a"}
    assert all(link.startswith(OURS) for link in html.links)
    assert not re.search(r"[@/#](?!\u200b)", html.outside_code)


def feishu(body: Any, raw: bytes) -> None:
    assert len(raw) <= 20_000
    for element in body["card"]["elements"]:
        texts = [field["text"] for field in element.get("fields", ())] + [element.get("text", {})]
        for text in texts:
            if text.get("tag") == "lark_md":
                bare = re.sub(r"\A\*\*[^*\n]*\*\*\n", "", text["content"])
                bare = re.sub(rf"\[[^\[\]]*\]\({OURS}[^()]*\)", "", bare)
                assert not set(bare) & set("<>*~`[]"), bare


def dingtalk(body: Any, raw: bytes) -> None:
    assert len(raw) <= 20_000
    assert "at" not in body
    content = body[body["msgtype"]]
    assert not re.search(r"@(?!\u200b)", content["title"] + content["text"])
    first, *rest = content["text"].split("\n")
    bare = re.sub(r'\A### <font color="#[0-9A-F]{6}">(.*)</font>\Z', r"\1", first)
    assert not set(bare + "".join(rest)) & set("<>")
    for line in rest:
        only_text_and_our_links(re.sub(r"\A- (?:\*\*(?:\\.|[^\\*])*\*\*: )?", "x", line))


def wecom(body: Any, raw: bytes) -> None:
    content = body["markdown"]["content"]
    assert len(content.encode()) <= 4_096
    assert not re.search(r"@(?!\u200b)", content)
    bare = re.sub(r'<font color="[a-z]+">|</font>|^>', "", content, flags=re.MULTILINE)
    bare = re.sub(rf"\[[^\[\]]*\]\({OURS}[^()]*\)", "", bare)
    assert not set(bare.removeprefix("### ")) & set("<>[]`*#"), bare


RULES: dict[str, Callable[[Any, bytes], None]] = {
    rules.__name__: rules
    for rules in (slack, teams, discord, mattermost, rocketchat, googlechat, telegram, feishu, dingtalk, wecom)
}
MOST_EXAMPLES = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


def check(form: Format, events: list[Event], language: Language) -> str:
    raw = form.render(events, options("https://bot.example/", language=language, link=LINK), NOW).body
    body = json.loads(raw)
    for text in strings(body):
        assert not any(unicodedata.category(character) in {"Cc", "Zl", "Zp"} for character in text.replace("\n", ""))
        assert not set(text) & set(MARKS)
        assert units(text) > 0
    RULES[form.name](body, raw)
    return "\n".join(strings(body))


@pytest.mark.parametrize("form", CHAT, ids=lambda form: form.name)
@MOST_EXAMPLES
@given(event=EVENTS, language=st.sampled_from(Language))
def test_hostile_text_in_every_field_is_reported_and_does_no_harm(
    form: Format, event: Event, language: Language
) -> None:
    check(form, [event], language)


@pytest.mark.parametrize("form", [form for form in CHAT if form.digest > 1], ids=lambda form: form.name)
@settings(MOST_EXAMPLES, max_examples=8)
@given(data=st.data(), language=st.sampled_from(Language))
def test_a_full_digest_of_hostile_events_fits_and_names_each_job(
    form: Format, data: st.DataObject, language: Language
) -> None:
    hostile = data.draw(st.lists(EVENTS, min_size=2, max_size=6))
    jobs = data.draw(st.lists(JOBS, min_size=1, max_size=3))
    ids = [str(UUID(int=number * 2**90 + number)) for number in range(form.digest - len(hostile))]
    named = [
        Event("evt_2", REGISTRATION, "default", _with_id(jobs[number % len(jobs)], id), NOW, {})
        for number, id in enumerate(ids)
    ]
    shown = check(form, [*hostile, *named], language).replace("\\", "")
    assert [id for id in ids if id not in shown] == []


def _with_id(job: Job, id: str) -> Job:
    return Job(id, job.state, phone_id=job.phone_id, error_code=job.error_code, error_msg=job.error_msg)


@pytest.mark.slow
@pytest.mark.parametrize("form", CHAT, ids=lambda form: form.name)
def test_the_longest_of_everything_in_a_full_digest_fits(form: Format) -> None:
    for text in (*SNIPPETS, *(text * 10_000 for text in LONG)):
        abouts: list[Any] = [
            Job(text, JobState.FAILED, None, text, text, text, text, text, text, text),
            Job(None, JobState.LOST, phone_id=text),
            DestinationChange(OwnEventType.DESTINATION_DISABLED, text, text, NOW, 1, 1),
            Group(
                {JobState.FAILED: 50}, (Job(text, JobState.FAILED, phone_id=text, error_msg=text),) * 50, truncated=True
            ),
        ]
        events = [Event("evt_1", REGISTRATION, text, about, NOW, {text: text}) for about in abouts]
        for event in events:
            check(form, [event], Language.EN)
        check(form, (events * form.digest)[: form.digest], Language.ZH_CN)


def test_microsoft_s_own_library_takes_hostile_cards() -> None:
    (form,) = (form for form in CHAT if form.name == "teams")
    jobs = [Job(text, JobState.FAILED, phone_id=text, error_msg=text) for text in SNIPPETS]
    events = [
        Event("evt_1", REGISTRATION, text, job, NOW, {text: text}) for text, job in zip(SNIPPETS, jobs, strict=True)
    ]
    cards = [rendered(form, event, options(link=LINK))["attachments"][0]["content"] for event in events]
    assert complaints(cards=cards) == []


@given(text=TEXT)
@MOST_EXAMPLES
def test_what_is_made_harmless_still_reads_the_same(text: str) -> None:
    shown = plain(text, 300)
    rendered = MarkdownIt("commonmark").render(markdown.defuse_mentions(markdown.escape(shown)))
    assert Html(rendered).text.replace(ZERO_WIDTH_SPACE, "").strip() == shown.replace(ZERO_WIDTH_SPACE, "").strip()
