"""Checks endpoints, proxy and authorities of CPH and IAM. No message quotes a URL: it may hold a password."""

import re
from urllib.parse import urlsplit

from app.transport.proxy import HttpProxy

# The API's own path, which our calls add. What stands before it belongs to a reverse proxy.
API_PATH = re.compile(r"/v[0-9]+(\.[0-9]+)?(/.*)?$", re.IGNORECASE)
PRINTABLE = re.compile(r"[!-~]+")
EXAMPLE = "https://cph.example"


def clean_endpoint(url: str) -> str:
    """Returns the endpoint without the API's own path, such as /v3. Raises ValueError that names the wrong part."""
    url = url.strip()
    try:
        parts = urlsplit(url)
        valid_port = parts.port != 0
    except ValueError:
        valid_port = False
    if not valid_port or not PRINTABLE.fullmatch(url):
        raise ValueError(f"is not a URL such as {EXAMPLE}")
    if parts.scheme not in ("http", "https") or not url[len(parts.scheme) :].startswith("://"):
        raise ValueError(f"is not a URL such as {EXAMPLE}: it must begin with https:// or http://")
    if not parts.hostname:
        raise ValueError(f"is not a URL such as {EXAMPLE}: it has no host")
    if "@" in parts.netloc:
        raise ValueError("must have no user and password: credentials have settings of their own")
    if "?" in url or "#" in url:
        raise ValueError("must end with the host, the port, or a path: remove what begins with ? or #")
    return f"{parts.scheme}://{parts.netloc}{API_PATH.sub('', parts.path).rstrip('/')}"


def check_proxy(url: str) -> None:
    """Raises ValueError."""
    HttpProxy.parse(url)
