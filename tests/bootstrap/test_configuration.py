"""What can be read at the start is read at the start, by every process: ready means able."""

import json
import sys
from pathlib import Path

import pytest

from app.bootstrap.runtime import Runtime
from app.config.settings import load, unknown_names
from app.devkit.processes import start, wait_until
from app.domain.errors import OperatorError
from tests.support.certificates import Authority

GRANT = """grants:
  one: {tenants: [t], hosts: [h.example], networks: [10.0.0.0/8], ports: [443], schemes: [https], tls: {TLS}}
"""
PROJECT = "projects: {p: {project_id: p, region: ap-southeast-1, credentials: {agency: true}}}\n"


def refusal(environment: dict[str, str]) -> str:
    with pytest.raises(OperatorError) as refused:
        Runtime(load(environment), environment=environment).check_configuration()
    return str(refused.value)


@pytest.mark.parametrize("setting", ["GRANTS_FILE", "PROJECTS_FILE", "TENANTS_FILE"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot read {file}: No such file or directory"),
        (b"", "{file}: must be a mapping, `name: value`"),
        (b"[]\n", "{file}: "),
        (b"a: 1\na: 2\n", "{file}: line 2: duplicate key a"),
        (b"a:\n\t- b\n", "{file}: line 2: "),
        (b"a: \xff\xfe\n", "cannot read {file}: not UTF-8"),
        (b"nonsense: 1\n", "nonsense: unknown field"),
        (b"? [a, b]\n: 1\n", "{file}: line 1: a key must be a text"),
        (b"a: 2026-13-45\n", "{file}: not YAML: a value looks like a date"),
        (b"[" * 5_000, "{file}: "),
        (b"a: &a [*a]\n", "{file}: "),
    ],
)
def test_a_wrong_file_is_named_before_the_first_call(
    tmp_path: Path, setting: str, content: bytes | None, words: str
) -> None:
    file = tmp_path / "file.yaml"
    if content is not None:
        file.write_bytes(content)
    told = refusal({f"BRIDGE_{setting}": str(file)})
    assert words.format(file=file) in told
    assert told.startswith(f"BRIDGE_{setting}: ")


def test_a_folder_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    assert f"cannot read {tmp_path}: Is a directory" in refusal({"BRIDGE_GRANTS_FILE": str(tmp_path)})


def test_a_byte_order_mark_of_an_editor_is_dropped(tmp_path: Path) -> None:
    file = tmp_path / "projects.yaml"
    file.write_text(PROJECT, encoding="utf-8-sig")
    environment = {"BRIDGE_PROJECTS_FILE": str(file)}
    Runtime(load(environment), environment=environment).check_configuration()


@pytest.mark.parametrize(
    ("tls", "words"),
    [
        ("{ca_file: /nowhere/ca.pem}", "grants.one.tls.ca_file: cannot read /nowhere/ca.pem"),
        ("{ca_file: EMPTY}", "grants.one.tls.ca_file: EMPTY holds no CA certificate in PEM"),
        ("{certificate_file: EMPTY}", "grants.one.tls.certificate_file: EMPTY is no certificate in PEM"),
        ("{certificate_file: CA, key_file: /nowhere/key}", "grants.one.tls: cannot read CA or /nowhere/key"),
    ],
)
def test_tls_files_that_a_grant_names_are_read_at_the_start(tmp_path: Path, tls: str, words: str) -> None:
    empty, authority = tmp_path / "empty.pem", Authority(tmp_path)
    empty.touch()

    def named(text: str) -> str:
        return (
            text.replace("EMPTY", str(empty))
            .replace("CA,", f"{authority.file},")
            .replace("CA or", f"{authority.file} or")
        )

    file = tmp_path / "grants.yaml"
    file.write_text(GRANT.replace("{TLS}", named(tls)), encoding="utf-8")
    assert named(words) in refusal({"BRIDGE_GRANTS_FILE": str(file)})


def test_a_grant_with_sound_tls_files_is_no_fault(tmp_path: Path) -> None:
    file, authority = tmp_path / "grants.yaml", Authority(tmp_path)
    file.write_text(GRANT.replace("{TLS}", f"{{ca_file: {authority.file}}}"), encoding="utf-8")
    environment = {"BRIDGE_GRANTS_FILE": str(file)}
    Runtime(load(environment), environment=environment).check_configuration()


@pytest.mark.parametrize("command", [("app.api",), ("workers", "poll"), ("workers", "deliver")])
def test_every_process_names_a_wrong_file_and_ends(
    environment: dict[str, str], tmp_path: Path, command: tuple[str, ...]
) -> None:
    log = tmp_path / "log"
    settings = {"BRIDGE_GRANTS_FILE": "/nowhere/grants.yaml", "BRIDGE_POLL_MIN": "3"}
    with start([sys.executable, "-m", *command], environment | settings, log=log) as process:
        wait_until(lambda: process.exit_code is not None, what="its end")
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert process.exit_code == 2
    unknown, wrong = (
        [line for line in lines if line["event"] == event] for event in ("settings.unknown", "settings.wrong")
    )
    assert (unknown[0]["setting"], unknown[0]["hint"]) == ("BRIDGE_POLL_MIN", "did you mean BRIDGE_POLL_MIN_S?")
    assert wrong[0]["reason"] == "BRIDGE_GRANTS_FILE: cannot read /nowhere/grants.yaml: No such file or directory"


def test_an_authority_of_the_jwt_issuer_that_cannot_be_read_ends_the_api(
    environment: dict[str, str], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    issuer = {"BRIDGE_OIDC_ISSUER": "https://issuer.example", "BRIDGE_OIDC_AUDIENCE": "bridge"}
    settings = environment | issuer | {"BRIDGE_OIDC_CA_FILE": "/nowhere/ca.pem"}
    with start([sys.executable, "-m", "app.api"], settings, log=log) as process:
        wait_until(lambda: process.exit_code is not None, what="its end")
    assert process.exit_code == 2
    assert "BRIDGE_OIDC_CA_FILE: cannot read /nowhere/ca.pem" in log.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("BRIDGE_POLL_MIN", "BRIDGE_POLL_MIN_S"),
        ("BRIDGE_REDIS_ULR", "BRIDGE_REDIS_URL"),
        ("BRIDGE_SECRET_KEY_FILE", "BRIDGE_SECRET_KEYS_FILE"),
        ("BRIDGE_redis_url", "BRIDGE_REDIS_URL"),
        ("BRIDGE_XYZZY", None),
    ],
)
def test_a_misspelt_setting_is_told_with_the_nearest_right_one(name: str, nearest: str | None) -> None:
    assert unknown_names({name: "x"}) == {name: nearest}


def test_settings_and_what_kubernetes_sets_are_known() -> None:
    known = ["BRIDGE_REDIS_URL", "BRIDGE_CPH_TOKEN_FILE", "BRIDGE_URL", "BRIDGE_KEY", "PATH"]
    service = ["BRIDGE_SERVICE_HOST", "BRIDGE_API_SERVICE_PORT", "BRIDGE_API_SERVICE_PORT_HTTP", "BRIDGE_API_PORT"]
    links = ["BRIDGE_API_PORT_80_TCP", "BRIDGE_API_PORT_80_TCP_ADDR", "BRIDGE_VALKEY_PORT_6379_TCP_PROTO"]
    assert unknown_names(dict.fromkeys([*known, *service, *links], "x")) == {}
