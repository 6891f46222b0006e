"""Parsing and checking of callback URLs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from ipaddress import IPv6Address, ip_address
from typing import NoReturn
from urllib.parse import quote, unquote

from app.domain.address import AddressPolicy, AddressRefusal, IPAddress, endpoint_refusal, refusal
from app.domain.errors import InvalidField
from app.domain.grant import Grant

POINTER = "/callback_url"
MAX_LENGTH = 2048
MAX_NAME_LENGTH = 253
DEFAULT_PORTS = {"https": 443, "http": 80}

# Only the characters of RFC 3986: parsers disagree about others, such as `\` or a space.
URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://"
    r"(?P<authority>(?:[A-Za-z0-9._~!$&'()*+,;=:@\[\]-]|%[0-9A-Fa-f]{2})*)"
    r"(?P<tail>(?:[/?](?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)?)"
)
BEFORE_TAIL = re.compile(r"[^/]*//[^/?]*")
HOST_AND_PORT = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>0|[1-9][0-9]{0,4}))?")
LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
# Any text as its host, for hints. Its tail may be a credential, which no error repeats: a short one is none.
WITH_ANY_HOST = re.compile(
    r"(?P<scheme>https?)://(?P<host>[^/?#\\@:\[\]]+)(?P<port>(?::[0-9]{1,5})?)(?P<tail>(?:[/?].*)?)", re.IGNORECASE
)
SHORT_TAIL = 8
TAIL_CHARACTERS = "/?:@!$&'()*+,;=-._~%"
# The standard library has IDNA 2003. These characters, which it replaces or drops, mean another name in IDNA 2008.
DEVIATIONS = frozenset("ßς\u200c\u200d")
LOCALHOST = (ip_address("127.0.0.1"), ip_address("::1"))
FULL_NAME = "host must be a full name such as bot.example, or an address"
OPEN_NETWORK = "a short name needs a network grant, or BRIDGE_ALLOW_NETWORKS, for its address: ask the operator"


@dataclass(frozen=True, slots=True)
class CallbackUrl:
    """host: in lower case, without a trailing dot or brackets. raw: for chat services it is the credential.

    grants: the operator's grants that apply to it.
    """

    raw: str = field(repr=False)
    scheme: str
    host: str
    port: int
    grants: tuple[Grant, ...] = field(default=(), repr=False)

    @property
    def origin(self) -> str:
        """`https://bot.example:443`"""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def mask(raw: str, origin: str) -> str:
    """Masks path and query: `https://bot.example/…f3a1`. The digest only tells URLs of one host apart.

    origin: of this URL.
    """
    default_port = DEFAULT_PORTS[origin.partition(":")[0]]
    return f"{origin.removesuffix(f':{default_port}')}/…{sha256(raw.encode()).hexdigest()[:4]}"


def path_and_query(url: str) -> str:
    """Returns the part of the URL that `mask` hides."""
    return BEFORE_TAIL.sub("", url, count=1)


@lru_cache(maxsize=1024)
def parse(raw: str, policy: AddressPolicy, tenant: str) -> CallbackUrl:
    """Parses a callback URL. Raises InvalidField if it is not allowed. Names are resolved only on connecting."""
    scheme, authority = _split(raw)
    host, given_port = _host_and_port(authority)
    ip = _ip_literal(host, raw)
    name, port = _bare_host(host), DEFAULT_PORTS[scheme] if given_port is None else given_port
    grants = policy.grants_for(tenant=tenant, scheme=scheme, host=name, port=port)
    url = CallbackUrl(raw, scheme, name, port, grants)
    if ip is None:
        _check_short_name(url, policy)
    if code := _refusal_code(url, ip, policy):
        _refuse(f"not allowed here: {code}", "https on port 443 or 8443 at a public address, or ask the operator")
    return url


def _check_short_name(url: CallbackUrl, policy: AddressPolicy) -> None:
    """A name without a dot is for networks that the operator has opened. `localhost` may be either loopback address."""
    if url.host.rpartition(".")[2] == "localhost" and not all(policy.exempts(ip) for ip in LOCALHOST):
        allowed = [f"[{ip}]" if ip.version == 6 else str(ip) for ip in LOCALHOST if policy.exempts(ip)]
        hint = f"{allowed[0]} instead of localhost" if allowed else "localhost is the bridge itself: give another name"
        _refuse(FULL_NAME, hint)
    if "." not in url.host and not _may_enter_network(url, policy):
        _refuse(FULL_NAME, OPEN_NETWORK)


def _refusal_code(url: CallbackUrl, ip: IPAddress | None, policy: AddressPolicy) -> AddressRefusal | None:
    if policy.denies(url.host, url.port):
        return AddressRefusal.HOST_DENIED
    if ip is not None:
        return refusal(ip, scheme=url.scheme, port=url.port, policy=policy, grants=url.grants)
    return None if url.port and _may_enter_network(url, policy) else endpoint_refusal(url.scheme, url.port, policy)


def _may_enter_network(url: CallbackUrl, policy: AddressPolicy) -> bool:
    """Whether the name may resolve to an address in a network that the operator has opened: judged on connecting."""
    return bool(policy.allow_networks) or any(grant.networks for grant in url.grants)


def _split(raw: str) -> tuple[str, str]:
    if len(raw) > MAX_LENGTH:
        _refuse(f"longer than {MAX_LENGTH} characters")
    if "#" in raw:
        _refuse("has a fragment", "leave out the # and what follows")
    match = URL.fullmatch(raw)
    if not match:
        _refuse("not a URL", _hint(raw))
    scheme = match["scheme"].lower()
    if scheme not in DEFAULT_PORTS:
        _refuse("must begin with https://")
    if "@" in match["authority"]:
        _refuse("has a user name or password in it", "send credentials in `headers`, as Authorization")
    return scheme, match["authority"]


def _host_and_port(authority: str) -> tuple[str, int | None]:
    match = HOST_AND_PORT.fullmatch(authority.lower())
    if not match or int(match["port"] or 0) > 65535:
        _refuse("host or port is malformed")
    return match["host"], int(match["port"]) if match["port"] else None


def _bare_host(host: str) -> str:
    return host.removeprefix("[").removesuffix("]").removesuffix(".")


def _hint(raw: str) -> str:
    host = WITH_ANY_HOST.fullmatch(raw)
    if form := _ascii_form(raw):
        return f"write {form}"
    if raw != raw.strip():
        return "leave out the spaces around it"
    if host and not _is_name(host["host"].lower().removesuffix(".").split(".")):
        return "a host of ASCII letters, digits, hyphens and dots; write an international name in its form with xn--"
    return "https://…, with every character that URLs do not allow percent-encoded"


def _ascii_form(raw: str) -> str | None:
    """Returns the URL with the name that DNS has for its host (`xn--…`), None if that is not certain."""
    url = WITH_ANY_HOST.fullmatch(raw)
    host = unquote(url["host"]) if url else ""
    if not url or DEVIATIONS & set(host):
        return None
    try:
        name = host.encode("idna").decode("ascii").lower().removesuffix(".")
    except UnicodeError:
        return None
    labels = name.split(".")
    if name == url["host"].lower() or len(labels) < 2 or NUMBER.fullmatch(labels[-1]) or not _is_name(labels):
        return None
    tail = quote(url["tail"], safe=TAIL_CHARACTERS)
    return f"{url['scheme'].lower()}://{name}{url['port']}{tail if len(tail) <= SHORT_TAIL else '/…'}"


def _ip_literal(host: str, raw: str) -> IPAddress | None:
    """Returns the host's IP address, None for a name. Raises InvalidField if it is neither."""
    if host.startswith("["):
        return _ipv6(host[1:-1])
    labels = host.removesuffix(".").split(".")
    if NUMBER.fullmatch(labels[-1]):
        return _ipv4(host)
    if not _is_name(labels):
        form = _ascii_form(raw)
        _refuse(FULL_NAME, f"write {form}" if form else None)
    return None


def _is_name(labels: Sequence[str]) -> bool:
    return len(".".join(labels)) <= MAX_NAME_LENGTH and all(LABEL.fullmatch(label) for label in labels)


def _ipv4(host: str) -> IPAddress:
    """Parses strictly: parsers disagree about 0x7f.1, 2130706433 and 0177.0.0.1."""
    try:
        return ip_address(host)
    except ValueError:
        _refuse("host is an address in an unusual spelling", "four decimal numbers without leading zeros")


def _ipv6(text: str) -> IPAddress:
    try:
        ip = IPv6Address(text)
    except ValueError:
        _refuse("host is not an IPv6 address")
    if str(ip) != text or ip.scope_id:
        _refuse("host is an address in an unusual spelling", "the shortest form, without a zone")
    return ip


def _refuse(detail: str, hint: str | None = None) -> NoReturn:
    raise InvalidField(POINTER, detail, hint)
