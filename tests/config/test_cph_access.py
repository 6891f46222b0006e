"""Endpoints, proxy and authorities of CPH and IAM, as settings and projects file give them."""

from pathlib import Path

import pytest

from app.config.cph_access import clean_endpoint
from app.config.settings import load
from app.config.tls_files import check_ca_file
from app.domain.errors import OperatorError


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        *((f"https://iam.example{path}", "https://iam.example") for path in ("", "/", "/v3", "/v3/", "/v1", "/v3.0")),
        ("https://iam.example/v3/auth/tokens", "https://iam.example"),
        (" HTTPS://iam.example:8443/V3 ", "https://iam.example:8443"),
        ("https://gateway.example/huawei/v1/", "https://gateway.example/huawei"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
    ],
)
def test_an_endpoint_with_the_path_of_the_api_is_taken(given: str, taken: str) -> None:
    assert clean_endpoint(given) == taken
    settings = load({"BRIDGE_CPH_ENDPOINT": given, "BRIDGE_IAM_ENDPOINT": given})
    assert (settings.cph_endpoint, settings.iam_endpoint) == (taken, taken)


@pytest.mark.parametrize("variable", ["BRIDGE_CPH_ENDPOINT", "BRIDGE_IAM_ENDPOINT"])
@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("cph.example", "it must begin with https:// or http://"),
        ("ftp://cph.example", "it must begin with https:// or http://"),
        ("https:cph.example", "it must begin with https:// or http://"),
        ("https:///v3", "it has no host"),
        ("https://cph example", "is not a URL such as https://cph.example"),
        ("https://cph.example:99999", "is not a URL such as"),
        ("https://cph.example:0", "is not a URL such as"),
        ("https://bücher.example", "is not a URL such as"),
        ("https://u:s3cret@cph.example", "must have no user and password"),
        ("https://cph.example/v3?s3cret=1", "remove what begins with"),
        ("https://cph.example#s3cret", "remove what begins with"),
    ],
)
def test_the_wrong_part_of_an_endpoint_is_named_at_the_start(variable: str, url: str, told: str) -> None:
    with pytest.raises(OperatorError, match=f"^{variable}: .*{told}") as raised:
        load({variable: url})
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("region", "told"), [("cn-north-4a", "its region is cn-north-4"), ("CN-North-4", "is not the id of a region")]
)
def test_a_region_that_is_none_is_told_at_the_start(region: str, told: str) -> None:
    with pytest.raises(OperatorError, match=f"^BRIDGE_CPH_REGION: .*{told}"):
        load({"BRIDGE_CPH_REGION": region})


def test_a_wrong_proxy_is_told_at_the_start_without_its_password() -> None:
    with pytest.raises(OperatorError, match=r"^BRIDGE_CPH_PROXY: a proxy by socks5 is not supported") as raised:
        load({"BRIDGE_CPH_PROXY": "socks5://u:s3cret@proxy:1080"})
    assert "s3cret" not in str(raised.value)


def test_a_file_without_certificates_is_told_with_its_settings_name(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("no certificate", encoding="utf-8")
    with pytest.raises(OperatorError, match=r"^BRIDGE_CPH_CA_FILE: .*empty\.pem holds no CA certificate in PEM"):
        check_ca_file(tmp_path / "empty.pem", "BRIDGE_CPH_CA_FILE")
    with pytest.raises(OperatorError, match=r"^BRIDGE_CPH_CA_FILE: cannot read .*: No such file"):
        check_ca_file(tmp_path / "absent.pem", "BRIDGE_CPH_CA_FILE")
