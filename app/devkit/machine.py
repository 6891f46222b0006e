"""What `./dev` and all that it starts take from the machine: a list of variables. All others are cleared."""

import ast
import os
import re
import subprocess
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

OURS = "BRIDGE_"  # settings of a bridge that runs elsewhere

CALLED_IN = "DEV_CALLED_IN"  # the folder that `./dev` was called in
SERVER = "REDIS_SERVER"

# By every command; names or patterns.
MACHINE = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LD_LIBRARY_PATH", "TMPDIR", "XDG_CACHE_HOME"),
    *("LANG", "LANGUAGE", "LC_*", "LOCPATH", "TZ", "TERM", "COLORTERM", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"),
    *("CI", SERVER),
)
# By what installs packages, and by tests, which have packages of their own.
NETWORK = (
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("NETRC", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"),
    *("NPM_CONFIG_*", "npm_config_*", "UV_*", "SCHEMATHESIS_EXAMPLES"),
)
# Of pip's options, set by a variable or in pip's files: where packages come from, and how they are reached.
PIP = frozenset(
    {
        *("index-url", "extra-index-url", "find-links", "no-index", "trusted-host", "keyring-provider"),
        *("proxy", "cert", "client-cert", "timeout", "default-timeout", "retries", "cache-dir", "no-cache-dir"),
    }
)
PIP_FILES = ("PIP_CONFIG_FILE", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS")
# `pip config list` itself takes options from pip's files: `user = true` would show the user's file alone.
PLAIN_LIST = {"PIP_USER": "0", "PIP_GLOBAL": "0", "PIP_SITE": "0", "PIP_QUIET": "0", "PIP_LOG": os.devnull}
# Python then reads and writes UTF-8 in every locale.
UTF8 = {"PYTHONUTF8": "1"}


def taken(*, installing: bool = False) -> dict[str, str]:
    """The environment for what is started, in the folder of the checkout."""
    named = _named((*MACHINE, *NETWORK) if installing else MACHINE)
    if "/" in named.get(SERVER, ""):
        named[SERVER] = str(Path(called_in(), named[SERVER]))
    return UTF8 | named


def called_in() -> str:
    """'' if it was not called by way of ./dev."""
    return os.environ.get(CALLED_IN, "")


def cache_folder() -> Path:
    """What all checkouts of this user share; in this checkout for a user without a home.

    The XDG specification wants a relative path to be ignored.
    """
    folders = (os.environ.get("XDG_CACHE_HOME", ""), os.path.expanduser("~/.cache"))  # noqa: PTH111 - it never raises
    absolute = [path for path in map(Path, folders) if path.is_absolute()]
    return absolute[0] / "cph-webhook-bridge" if absolute else Path(".dev").resolve()


def ignored_settings() -> list[str]:
    return sorted(name for name in os.environ if name.startswith(OURS))


def pip_settings(pip: Sequence[str | Path]) -> dict[str, str]:
    """Those of PIP that variables and pip's files set, as variables; with them pip reads its files no more.

    pip: how it is called. ValueError with pip's words if it cannot read its files.
    """
    environment = _named((*MACHINE, *NETWORK, *map(_variable, PIP), *PIP_FILES)) | UTF8 | PLAIN_LIST
    environment["PIP_PYTHON"] = str(pip[0])  # as `python = …` of pip's files would start another Python
    told = subprocess.run(
        [*pip, "config", "list"], env=environment, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    if told.returncode:
        raise ValueError(told.stderr.strip() or f"`pip config list` ended with {told.returncode}")
    # `global.index-url='…'` is for all commands, `install.index-url='…'` for one, `:env:.index-url='…'` a variable.
    lines = re.findall(r"^(\S*)\.([\w-]+)=(.*)$", told.stdout, re.MULTILINE)
    lines.sort(key=lambda line: {"global": 0, ":env:": 2}.get(line[0], 1))
    found = {_variable(name): ast.literal_eval(value) for _, name, value in lines if name in PIP}
    return {"PIP_RETRIES": "2", **found, "PIP_CONFIG_FILE": os.devnull}


def _named(patterns: Sequence[str]) -> dict[str, str]:
    return {
        name: value for name, value in os.environ.items() if any(fnmatchcase(name, pattern) for pattern in patterns)
    }


def _variable(option: str) -> str:
    return f"PIP_{option.replace('-', '_').upper()}"
