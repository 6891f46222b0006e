"""The environment variables that `./dev` passes on to what it starts. All others are cleared."""

import ast
import os
import re
import subprocess
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

SETTING_PREFIX = "BRIDGE_"  # in a shell: settings of a bridge that runs elsewhere

CALLED_IN = "DEV_CALLED_IN"  # the folder that `./dev` was called in
SERVER = "REDIS_SERVER"

# For every command; names or patterns.
MACHINE = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LD_LIBRARY_PATH", "TMPDIR", "XDG_CACHE_HOME"),
    *("LANG", "LANGUAGE", "LC_*", "LOCPATH", "TZ", "TERM", "COLORTERM", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"),
    *("CI", SERVER),
)
# For commands that install packages, and for tests, which install some of their own.
NETWORK = (
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("NETRC", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"),
    *("NPM_CONFIG_*", "npm_config_*", "UV_*", "SCHEMATHESIS_EXAMPLES"),
)
# The pip options that are kept, from PIP_ variables or pip's files: where packages come from and how to reach them.
PIP = frozenset(
    {
        *("index-url", "extra-index-url", "find-links", "no-index", "trusted-host", "keyring-provider"),
        *("proxy", "cert", "client-cert", "timeout", "default-timeout", "retries", "cache-dir", "no-cache-dir"),
    }
)
PIP_FILES = ("PIP_CONFIG_FILE", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS")
# `pip config list` obeys pip's files too: with `user = true` it would list only the user's file.
PIP_LIST_DEFAULTS = {"PIP_USER": "0", "PIP_GLOBAL": "0", "PIP_SITE": "0", "PIP_QUIET": "0", "PIP_LOG": os.devnull}
# Makes Python read and write UTF-8 in every locale.
UTF8 = {"PYTHONUTF8": "1"}


def child_environment(*, installing: bool = False) -> dict[str, str]:
    """Returns the environment for child processes, which run in the folder of the checkout."""
    variables = _matching((*MACHINE, *NETWORK) if installing else MACHINE)
    if "/" in variables.get(SERVER, ""):
        variables[SERVER] = str(Path(called_in(), variables[SERVER]))
    return UTF8 | variables


def called_in() -> str:
    """Returns the folder in which ./dev was called; '' if this process was not started by ./dev."""
    return os.environ.get(CALLED_IN, "")


def cache_folder() -> Path:
    """Returns the folder shared by all checkouts of this user; without a home folder, .dev of this checkout.

    Relative paths are ignored, as the XDG specification requires.
    """
    folders = (os.environ.get("XDG_CACHE_HOME", ""), os.path.expanduser("~/.cache"))  # noqa: PTH111 - expanduser never raises
    absolute = [path for path in map(Path, folders) if path.is_absolute()]
    return absolute[0] / "cph-webhook-bridge" if absolute else Path(".dev").resolve()


def ignored_settings() -> list[str]:
    return sorted(name for name in os.environ if name.startswith(SETTING_PREFIX))


def pip_settings(pip: Sequence[str | Path]) -> dict[str, str]:
    """Returns the PIP options that variables and pip's files set, as variables that also make pip ignore its files.

    pip: the command that starts pip. Raises ValueError with pip's message if pip cannot read its files.
    """
    environment = _matching((*MACHINE, *NETWORK, *map(_variable, PIP), *PIP_FILES)) | UTF8 | PIP_LIST_DEFAULTS
    environment["PIP_PYTHON"] = str(pip[0])  # otherwise `python = …` in pip's files starts another Python
    listing = subprocess.run(
        [*pip, "config", "list"], env=environment, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    if listing.returncode:
        raise ValueError(listing.stderr.strip() or f"`pip config list` ended with {listing.returncode}")
    # `global.index-url='…'` is for all commands, `install.index-url='…'` for one, `:env:.index-url='…'` is a variable.
    lines = re.findall(r"^(\S*)\.([\w-]+)=(.*)$", listing.stdout, re.MULTILINE)
    lines.sort(key=lambda line: {"global": 0, ":env:": 2}.get(line[0], 1))
    found = {_variable(name): ast.literal_eval(value) for _, name, value in lines if name in PIP}
    return {"PIP_RETRIES": "2", **found, "PIP_CONFIG_FILE": os.devnull}


def _matching(patterns: Sequence[str]) -> dict[str, str]:
    return {
        name: value for name, value in os.environ.items() if any(fnmatchcase(name, pattern) for pattern in patterns)
    }


def _variable(option: str) -> str:
    return f"PIP_{option.replace('-', '_').upper()}"
