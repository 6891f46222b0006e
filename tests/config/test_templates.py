"""The operator's templates."""

import json
import logging
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.bootstrap.runtime import Runtime
from app.config.settings import load
from app.config.templates import read_templates
from app.domain.errors import OperatorError, Unrenderable
from app.domain.event import Event
from app.domain.job import Job, JobState
from app.domain.verdict import Verdict
from app.formats.format import Format, Language, MessageOptions, ServiceAnswer
from app.formats.samples import FAILED, GROUP, LOST, SAMPLES, SUCCEEDED, sample
from tests.support.paths import ROOT

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
EXAMPLES = ROOT / "docs" / "templates"
OPTIONS = MessageOptions(
    "https://receiver.example/s3cret-path", "s3cret", Language.EN, "https://console.example/{job_id}"
)
SMALL = '{"id": {{ event.id | tojson }}}'


def compile_template(folder: Path, source: str, template_settings: str | None = None, name: str = "mine") -> Format:
    (folder / f"{name}.json.j2").write_text(source, encoding="utf-8")
    if template_settings is not None:
        (folder / f"{name}.yaml").write_text(template_settings, encoding="utf-8")
    return read_templates(folder)[name]


def body(format_: Format, event: Event, options: MessageOptions = OPTIONS) -> Any:
    outgoing = format_.render([event], options, NOW)
    assert outgoing.url == options.url
    return json.loads(outgoing.body)


def test_a_template_becomes_a_format_that_is_signed_and_retried_as_machines_are(tmp_path: Path) -> None:
    made = compile_template(tmp_path, '{ "a" : {{ event.data.job.job_id | default("手机") | tojson }} }')
    assert (made.name, made.machine, made.digest, made.rate_limit) == ("template:mine", True, 1, None)
    outgoing = made.render([sample(None)], OPTIONS, NOW)
    assert (outgoing.body, dict(outgoing.headers)) == ('{"a":"手机"}'.encode(), {"Content-Type": "application/json"})


def test_other_peoples_text_stays_text(tmp_path: Path) -> None:
    made = compile_template(tmp_path, '{"words": {{ event.data.job.error_msg | default("") | tojson }}}')
    hostile = '"}, {{ 7 * 7 }} {% raw %} </script> \n\u202e' + "手" * 10_000
    assert body(made, sample(Job("j", JobState.FAILED, error_msg=hostile))) == {"words": hostile}


def test_a_template_sees_no_secret(tmp_path: Path) -> None:
    made = compile_template(tmp_path, '{"all": {{ [event, language, link] | string | tojson }}}')
    sent_body = str(body(made, sample(SUCCEEDED)))
    assert "s3cret" not in sent_body
    assert f"https://console.example/{SUCCEEDED.job_id}" in sent_body
    for name in ("options", "self._TemplateReference__context", "cycler.__init__.__globals__.os"):
        with pytest.raises(OperatorError):
            compile_template(tmp_path, '{"x": {{ NAME | string | tojson }}}'.replace("NAME", name))


@pytest.mark.parametrize(
    ("source", "fragments"),
    [
        ('{\n"a": {{ event.id | tojson }', ["line 2"]),
        ('{\n"a":\n{{ event.nothing | tojson }}}', ["line 3", "job.succeeded", "nothing"]),
        ('{\n\n"a": {{ event.data.job.job_id | tojson }}}', ["line 3", "group.finished", "job"]),
        ('{"a": {{ event.data.metadata.room | tojson }}}', ["line 1", "room"]),
        ('{"a": {{ event.id }}}', ["gives no JSON", "line 1"]),
        ("", ["gives no JSON"]),
        ('{"a": NaN}', ["NaN"]),
        ('{"a": {{ 1 / 0 }}}', ["line 1", "ZeroDivisionError"]),
        ('{"a": {{ "".__class__.__mro__ | tojson }}}', ["line 1"]),
        ('{"a": {{ range(10000000) | list | length }}}', ["line 1"]),
        ("{% include 'other' %}", ["line 1"]),
    ],
)
def test_what_is_wrong_is_named_with_file_and_line(tmp_path: Path, source: str, fragments: list[str]) -> None:
    with pytest.raises(OperatorError) as raised:
        compile_template(tmp_path, source)
    for fragment in ["mine.json.j2", *fragments]:
        assert fragment in str(raised.value)


@pytest.mark.parametrize(
    ("template_settings", "message"),
    [
        ("method: PUT", "method"),
        ("headers: {Host: x}", "Host"),
        ("success: {status: [700]}", "success.status"),
        ("success: {status: []}", "success.status"),
        ("retries: 7", "retries"),
        ("a: b: c", "line 1"),
        ("content_type: 'a\r\nb'", "content_type"),
    ],
)
def test_what_is_wrong_beside_it_is_named_too(tmp_path: Path, template_settings: str, message: str) -> None:
    with pytest.raises(OperatorError) as raised:
        compile_template(tmp_path, SMALL, template_settings)
    assert "mine.yaml" in str(raised.value)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("template_settings", "status", "answer", "verdict"),
    [
        ("", 200, b"", Verdict.DELIVERED),
        ("", 204, b"<html>", Verdict.DELIVERED),
        ("", 410, b"", Verdict.GONE),
        ("", 404, b"", Verdict.REFUSED),
        ("success: {status: [202]}", 202, b"", Verdict.DELIVERED),
        ("success: {status: [202]}", 200, b"", Verdict.RETRY),
        ("success: {status: [409]}", 409, b"", Verdict.DELIVERED),
        ("success: {json: {ok: true}}", 200, b'{"ok": true, "more": 1}', Verdict.DELIVERED),
        ("success: {json: {ok: true}}", 200, b'{"ok": false}', Verdict.RETRY),
        ("success: {json: {ok: true}}", 200, b"ok", Verdict.RETRY),
        ("success: {json: {a: {b: 1}}}", 200, b'{"a": {"b": 1, "c": 2}}', Verdict.DELIVERED),
        ("success: {json: {a: {b: 1}}}", 200, b'{"a": []}', Verdict.RETRY),
        ("success: {json: {ok: true}}", 500, b'{"ok": true}', Verdict.RETRY),
    ],
)
def test_success_is_what_the_template_takes_for_it(
    tmp_path: Path, template_settings: str, status: int, answer: bytes, verdict: Verdict
) -> None:
    judged = compile_template(tmp_path, SMALL, template_settings).judge(ServiceAnswer(status, {}, answer))
    assert judged.verdict is verdict
    assert (judged.service_message is not None) == (verdict is Verdict.RETRY and status < 300)


def test_a_real_event_that_it_cannot_render_is_named(tmp_path: Path) -> None:
    made = compile_template(tmp_path, '{"n": {{ (event.data.metadata.n | default(1) // 1) | int }}}')
    with pytest.raises(Unrenderable, match=r"template mine, for job.lost, line 1: TypeError"):
        body(made, sample(LOST, n="s3cret words"))


def test_the_same_files_give_the_very_same_formats(tmp_path: Path) -> None:
    made = compile_template(tmp_path, SMALL)
    assert read_templates(tmp_path)["mine"] is made
    assert compile_template(tmp_path, SMALL + " ") is not made


def test_a_change_is_applied_and_a_mistake_is_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    made = compile_template(tmp_path, SMALL)
    runtime = Runtime(load({"BRIDGE_TEMPLATES_DIR": str(tmp_path)}))
    assert runtime.config.format_catalog.find("template:mine") is made
    assert "template:mine" in runtime.config.format_catalog.names
    (tmp_path / "mine.json.j2").write_text("{", encoding="utf-8")
    runtime.reload()
    assert runtime.config.format_catalog.find("template:mine") is made
    (tmp_path / "mine.json.j2").rename(tmp_path / "other.json.j2")
    (tmp_path / "other.json.j2").write_text(SMALL, encoding="utf-8")
    runtime.reload()
    assert runtime.config.format_catalog.find("template:mine") is None
    assert runtime.config.format_catalog.find("template:other") is not None


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="BRIDGE_TEMPLATES_DIR: cannot read"):
        _ = Runtime(load({"BRIDGE_TEMPLATES_DIR": str(tmp_path / "none")})).config.format_catalog


@pytest.fixture
def examples(tmp_path: Path) -> dict[str, Format]:
    """The example templates of the docs, in a folder of an operator."""
    shutil.copytree(EXAMPLES, tmp_path, dirs_exist_ok=True)
    return dict(read_templates(tmp_path))


def test_the_examples_render_every_event(examples: dict[str, Format]) -> None:
    assert set(examples) == {"pagerduty", "github-dispatch", "errbot"}
    for made in examples.values():
        for event in SAMPLES:
            assert body(made, event)


def test_pagerduty_gets_an_incident_and_its_end(examples: dict[str, Format]) -> None:
    opened = body(examples["pagerduty"], sample(FAILED, pagerduty_key="R0"))
    assert opened["routing_key"] == "R0"
    assert opened["event_action"] == "trigger"
    assert opened["dedup_key"] == f"cph/{FAILED.job_id}"
    assert opened["payload"]["severity"] == "error"
    assert opened["payload"]["custom_details"]["error_code"] == "CPS.0003"
    assert set(opened["payload"]) >= {"summary", "source", "severity"}  # what Events API v2 requires
    assert opened["links"] == [{"href": f"https://console.example/{FAILED.job_id}", "text": "Job"}]
    assert body(examples["pagerduty"], sample(SUCCEEDED))["event_action"] == "resolve"
    assert body(examples["pagerduty"], sample(GROUP))["event_action"] == "trigger"
    judge = examples["pagerduty"].judge
    assert judge(ServiceAnswer(202, {}, b'{"status": "success", "dedup_key": "x"}')).verdict is Verdict.DELIVERED
    assert judge(ServiceAnswer(202, {}, b"<html>")).verdict is Verdict.RETRY
    assert judge(ServiceAnswer(429, {}, b"")).overloaded


def test_github_starts_a_workflow(examples: dict[str, Format]) -> None:
    made = examples["github-dispatch"]
    sent_body = body(made, sample(FAILED, branch="main"))
    assert sent_body["event_type"] == "cph-job-failed"
    assert sent_body["client_payload"]["event"]["job"]["job_id"] == FAILED.job_id
    assert len(sent_body["client_payload"]) <= 10
    sent = made.render([sample(FAILED)], OPTIONS, NOW).headers
    assert sent["Accept"] == "application/vnd.github+json"
    assert made.judge(ServiceAnswer(204, {}, b"")).verdict is Verdict.DELIVERED


def test_errbot_gets_what_its_plugin_reads(examples: dict[str, Format]) -> None:
    sent_body = body(examples["errbot"], sample(FAILED, room="#phones"))
    assert sent_body["room"] == "#phones"
    assert FAILED.job_id in sent_body["text"]
    assert body(examples["errbot"], sample(GROUP))["text"].startswith("group.finished: all jobs")
