"""`cph-bridge render` shows what would be sent, and `verify` checks the signature of a stored request."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.cli.main import main
from app.domain import signature
from app.formats import registry, standard
from app.formats.samples import SAMPLES
from tests.conftest import SECRET

SIGNED_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ENVIRONMENT = {"BRIDGE_SECRET_KEYS": ""}


def run(*arguments: object, **environment: str) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments], env=ENVIRONMENT | environment)


@pytest.fixture
def event_file(tmp_path: Path) -> Path:
    file = tmp_path / "event.json"
    file.write_bytes(standard.render(SAMPLES[0]))
    return file


@pytest.mark.parametrize("name", registry.BY_NAME)
def test_every_format_is_shown_with_its_size_and_limit(event_file: Path, name: str) -> None:
    shown = run("render", "--format", name, event_file)
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)
    assert f"{len(shown.stdout.encode()) - 1:,} bytes" in shown.stderr
    limit = registry.BY_NAME[name].limit
    assert (f"at most {limit}" if limit else "no limit is known") in shown.stderr


@pytest.mark.parametrize("sample", SAMPLES[:8], ids=lambda sample: sample.type)
def test_an_event_comes_back_from_what_a_subscriber_received(tmp_path: Path, sample) -> None:
    file = tmp_path / "event.json"
    file.write_bytes(standard.render(sample))
    shown = run("render", "--format", "standard", file)
    assert shown.stdout.encode().removesuffix(b"\n") == standard.render(sample)


def test_the_language_is_that_which_is_asked_for(event_file: Path) -> None:
    assert "成功" in run("render", "--format", "slack", "--language", "zh-CN", event_file).stdout


def test_several_events_give_a_digest(event_file: Path) -> None:
    shown = run("render", "--format", "dingtalk", event_file, event_file)
    assert "2 events" in shown.stderr
    assert run("render", "--format", "discord", event_file, event_file).exit_code == 2


def test_a_check_without_a_file_tries_every_event() -> None:
    shown = run("render", "--format", "slack", "--check")
    assert (shown.exit_code, shown.stdout) == (0, "")
    assert len(shown.stderr.splitlines()) == len(SAMPLES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not an event"),
        ("{}", "docs/contract.md"),
        (
            '{"id":"evt_1","type":"job.failed","timestamp":"2019-04-26T07:00:08Z","data":{"observed_at":"x"}}',
            "observed_at",
        ),
        (standard.render(SAMPLES[0]).decode().replace("job.succeeded", "job.failed"), "makes it 'job.succeeded'"),
        ("\xff", "is not UTF-8; use one from"),
        pytest.param("[" * 100_000, "not an event", id="deep"),
        (
            standard.render(SAMPLES[7]).decode().replace("2019-04-26T07:00:08Z", "0001-01-01T00:00:00+05:00"),
            "timestamp: Value error, must be within the years 1 to 9999",
        ),
    ],
)
def test_an_event_that_is_none_is_refused_with_what_to_do(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "event.json"
    file.write_bytes(text.encode("latin-1"))
    shown = run("render", "--format", "slack", file)
    assert shown.exit_code == 2
    assert message in shown.stderr


def test_what_cannot_be_rendered_says_what_can(event_file: Path) -> None:
    assert "slack" in run("render", "--format", "irc", event_file).stderr
    assert "job_id" in run("render", "--format", "slack", "--link", "https://x.example/{a}", event_file).stderr
    assert run("render", "--format", "slack", "--link", "x", event_file).stderr.endswith("at most 512 characters\n")
    assert "--check" in run("render", "--format", "slack").stderr


def test_a_template_that_is_wrong_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "mine.json.j2").write_text('{\n"a": {{ event.nothing | tojson }}\n}', encoding="utf-8")
    shown = run("render", "--format", "template:mine", "--check", BRIDGE_TEMPLATES_DIR=str(tmp_path))
    assert shown.exit_code == 2
    assert "mine.json.j2" in shown.stderr
    assert "line 2" in shown.stderr


@pytest.fixture
def stored_request(tmp_path: Path) -> tuple[Path, Path]:
    body = standard.render(SAMPLES[0])
    headers = signature.headers([signature.by_secret(SECRET)], "evt_1", SIGNED_AT, body)
    (tmp_path / "headers").write_text(
        "".join(f"{name.title()}: {value}\r\n" for name, value in headers.items()), encoding="utf-8"
    )
    (tmp_path / "body").write_bytes(body)
    return tmp_path / "headers", tmp_path / "body"


def test_a_stored_request_verifies(stored_request: tuple[Path, Path], tmp_path: Path) -> None:
    headers, body = stored_request
    shown = run("verify", "--secret", SECRET, "--headers", headers, body)
    assert (shown.exit_code, shown.stdout) == (0, "the signature matches: evt_1, signed at 2026-01-02T03:04:05Z\n")
    (tmp_path / "secret").write_text(SECRET + "\n", encoding="utf-8")
    pairs = dict(line.split(": ") for line in headers.read_text(encoding="utf-8").splitlines())
    headers.write_text(json.dumps(pairs), encoding="utf-8")
    assert run("verify", "--secret-file", tmp_path / "secret", "--headers", headers, body).exit_code == 0
    (tmp_path / "secret").write_bytes(b"\xff")
    shown = run("verify", "--secret-file", tmp_path / "secret", "--headers", headers, body)
    assert (shown.exit_code, shown.stderr.count("\n")) == (2, 1)
    assert "the secret must start with whsec_; give it with" in shown.stderr


def test_one_that_does_not_says_what_may_be_wrong(stored_request: tuple[Path, Path]) -> None:
    headers, body = stored_request
    right = body.read_bytes()

    def refused(content: bytes, secret: str = SECRET) -> str:
        body.write_bytes(content)
        shown = run("verify", "--secret", secret, "--headers", headers, body)
        assert shown.exit_code == 1
        return shown.stderr

    assert "line end" in refused(right + b"\n")
    assert "before parsing" in refused(json.dumps(json.loads(right), indent=1).encode())
    assert "another secret" in refused(right, "whsec_" + "B" * 32)
    assert "not JSON" in refused(b"\xff")
    assert "not JSON" in refused(b"[" * 100_000)
    headers.write_text(headers.read_text(encoding="utf-8").replace("v1,", "v1a,"), encoding="utf-8")
    assert "has none made with a secret" in refused(right)


@pytest.mark.parametrize(
    ("headers", "secret", "message"),
    [
        ("webhook-id: 1", SECRET, "webhook-signature"),
        ("{", SECRET, "not JSON"),
        pytest.param('{"a":' * 100_000, SECRET, "too deep", id="deep"),
        ("webhook-id: 1\nwebhook-timestamp: x\nwebhook-signature: v1,a", SECRET, "not a number"),
        ("webhook-id: 1", "s3cret", "--secret-file"),
    ],
)
def test_what_cannot_be_verified_says_what_to_do(
    stored_request: tuple[Path, Path], headers: str, secret: str, message: str
) -> None:
    file, body = stored_request
    file.write_text(headers, encoding="utf-8")
    shown = run("verify", "--secret", secret, "--headers", file, body)
    assert shown.exit_code == 2
    assert message in shown.stderr
    assert "s3cret" not in shown.output
