"""What `./dev` and all that it starts take from the machine: a list of variables. All others are cleared."""

import ast
import os
import re
import subprocess
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

OURS = "BRIDGE_"  # settings of a bridge that runs elsewhere

# By every command; names or patterns.
MACHINE = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LD_LIBRARY_PATH", "TMPDIR", "XDG_CACHE_HOME"),
    *("LANG", "LANGUAGE", "LC_*", "LOCPATH", "TZ", "TERM", "COLORTERM", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"),
    *("CI", "REDIS_SERVER"),
)
# By what installs packages, and by tests, which have packages of their own.
NETWORK = (
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"),
    *("NPM_CONFIG_*", "npm_config_*", "UV_*", "SCHEMATHESIS_EXAMPLES"),
)
# Of pip's options, set by a variable or in pip's files: where packages come from, and how they are reached.
PIP = frozenset(
    {
        *("index-url", "extra-index-url", "find-links", "no-index", "trusted-host", "keyring-provider"),
        *("proxy", "cert", "client-cert", "timeout", "default-timeout", "retries", "cache-dir", "no-cache-dir"),
    }
)
# Python then reads and writes UTF-8 in every locale.
UTF8 = {"PYTHONUTF8": "1"}


def taken(*, installing: bool = False) -> dict[str, str]:
    """The environment for what is started."""
    patterns = (*MACHINE, *NETWORK) if installing else MACHINE
    return UTF8 | {
        name: value for name, value in os.environ.items() if any(fnmatchcase(name, pattern) for pattern in patterns)
    }


def cache_folder() -> Path:
    """Where programs of this user keep what can be downloaded again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))  # noqa: PTH111 - it never raises


def ignored_settings() -> list[str]:
    return sorted(name for name in os.environ if name.startswith(OURS))


def pip_settings(pip: Sequence[str | Path]) -> dict[str, str]:
    """Those of PIP that variables and pip's files set, as variables; with them pip reads its files no more.

    pip: how it is called. ValueError with pip's words if it cannot read its files.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    told = subprocess.run(
        [*pip, "config", "list"], env=environment, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    if told.returncode:
        raise ValueError(told.stderr.strip())
    found = {}
    # `global.index-url='…'`, then those of one of pip's commands, then `:env:.index-url='…'`: the last one holds.
    for name, value in re.findall(r"^\S*\.([\w-]+)=(.*)$", told.stdout, re.MULTILINE):
        if name in PIP:
            found["PIP_" + name.replace("-", "_").upper()] = ast.literal_eval(value)
    return {"PIP_RETRIES": "2", **found, "PIP_CONFIG_FILE": os.devnull}
