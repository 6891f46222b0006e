"""Parses the operator's network grants from a YAML file; domain/grant.py defines a grant."""

import re
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv6Address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, PlainValidator, model_validator

from app.config import yaml_files
from app.config.yaml_files import Strict, describe_problem
from app.domain.grant import Grant, IPNetwork, TlsFiles

NAME = re.compile(r"(\*\.[a-z0-9_.-]+\.)?[a-z0-9_.-]*[a-z0-9_-]")  # matches IPv4 addresses too


def _host(text: str) -> str:
    low = text.lower()
    if not NAME.fullmatch(low) and not _is_ipv6(low):
        raise ValueError("give a name, `*.` and a full name for all its subdomains, or an address, and nothing else")
    return low


def _is_ipv6(text: str) -> bool:
    try:
        return str(IPv6Address(text)) == text
    except ValueError:
        return False


def _network(text: Any) -> IPNetwork:
    try:
        network = ip_network(text) if isinstance(text, str) else None
    except ValueError:
        network = None
    if network is None:
        raise ValueError("give a network such as 10.96.0.0/16, with all host bits zero")
    if network.is_loopback:
        raise ValueError("loopback cannot be granted; for trials use BRIDGE_ALLOW_NETWORKS")
    return network


Text = Annotated[str, Field(min_length=1)]
Host = Annotated[str, AfterValidator(_host)]
Network = Annotated[IPNetwork, PlainValidator(_network)]
Port = Annotated[int, Field(ge=1, le=65535)]


class _Tls(Strict):
    ca_file: Text | None = None
    certificate_file: Text | None = None
    key_file: Text | None = None

    @model_validator(mode="after")
    def _check_files(self) -> Self:
        if not (self.ca_file or self.certificate_file):
            raise ValueError("give ca_file, certificate_file or both")
        if self.key_file and not self.certificate_file:
            raise ValueError("key_file needs certificate_file")
        return self

    def files(self) -> TlsFiles:
        return TlsFiles(ca=self.ca_file, certificate=self.certificate_file, key=self.key_file)


class _Grant(Strict):
    tenants: Annotated[frozenset[Text], Field(min_length=1)]
    hosts: Annotated[frozenset[Host], Field(min_length=1)]
    networks: tuple[Network, ...]
    ports: Annotated[frozenset[Port], Field(min_length=1)]
    schemes: Annotated[frozenset[Literal["http", "https"]], Field(min_length=1)]
    tls: _Tls | None = None

    @model_validator(mode="after")
    def _check_not_empty(self) -> Self:
        if not (self.networks or self.tls):
            raise ValueError("grants nothing: networks is empty, and there is no tls")
        if self.tls and "https" not in self.schemes:
            raise ValueError("tls needs https among the schemes")
        return self

    def grant(self) -> Grant:
        return Grant(
            tenants=self.tenants,
            hosts=self.hosts,
            networks=self.networks,
            ports=self.ports,
            schemes=self.schemes,
            tls=self.tls.files() if self.tls else None,
        )


class _GrantsFile(Strict):
    grants: dict[Text, _Grant]


def read_grants(file: Path) -> Mapping[str, Grant]:
    """Returns the grants by name, in the order of the file; the same objects while the file does not change.

    The OperatorError names the wrong field, e.g. `grants.team-b.ports.0`.
    """
    return yaml_files.read(file, _parse, _describe)


@lru_cache(maxsize=1)
def _parse(text: str) -> Mapping[str, Grant]:
    return {name: entry.grant() for name, entry in _GrantsFile.model_validate(yaml_files.load(text)).grants.items()}


def _describe(problem: Any) -> str:
    return describe_problem(problem, ".".join(str(part) for part in problem["loc"]))
