"""URLs given to commands: one that cannot be called is refused at once, by the name of its option."""

import pytest

from tests.cli.test_cli import run

KEY = {"BRIDGE_KEY": "k"}
API_OPTION = ("--api", "http://127.0.0.1:9")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x.example",
        "ftp://x",
        "http:///x",
        "http://[::1",
        "http://[::zz]",
        "http://[::1]x",
        "http://a b/",
        "http://x/ü",
        "http://x/#a",
        "http://a%00b",
        "http://a..b",
        "http://" + "a" * 64 + ".example",
        "http://x:abc",
        "http://x:0",
        "http://127.0.0.1:99999",
        "http://user:canary@x",
    ],
)
def test_one_that_is_malformed_is_refused_by_the_name_of_its_option(url: str) -> None:
    for arguments, names in (
        (("watch", "job", "--api", url), "--api, BRIDGE_URL"),
        (("listen", *API_OPTION, "--forward", url), "--forward"),
    ):
        refused = run(KEY, *arguments)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert refused.stderr.startswith(f"Error: {names}: ")
        assert refused.stderr.count("\n") == 1
        assert "canary" not in refused.stderr


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9", "HTTP://127.0.0.1:9/", "http://[::1]:9/bridge", "http://localhost:9"]
)
def test_one_that_can_be_called_is_called(url: str) -> None:
    unreachable = run(KEY | {"BRIDGE_URL": url}, "watch", "job")
    assert unreachable.exit_code == 2
    assert "cannot be reached (" in unreachable.stderr
