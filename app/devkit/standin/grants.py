"""Credentials that expire: tokens and temporary access keys; and the simulated host that issues keys."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict

from app.devkit.standin.account import new_access_key, new_secret_key
from app.devkit.standin.refusal import CallRefused


class Tokens:
    """Each token is valid for `life`; issuing one does not invalidate the others."""

    def __init__(self, life: timedelta) -> None:
        self._life = life
        self._ends: dict[str, datetime] = {}

    def issue(self, now: datetime) -> tuple[str, datetime]:
        """Returns the token and its expiry."""
        token = "MII" + secrets.token_urlsafe(96)
        self._ends[token] = now + self._life
        return token, self._ends[token]

    def check(self, token: str, now: datetime) -> None:
        if token not in self._ends:
            raise CallRefused(401, "APIGW.0301", "Incorrect IAM authentication information: decrypt token fail")
        if self._ends[token] <= now:
            raise CallRefused(401, "APIGW.0307", "The token must be updated.")

    def expire_all(self, now: datetime) -> None:
        self._ends = dict.fromkeys(self._ends, now)


@dataclass(frozen=True, slots=True)
class IssuedKey:
    access_key: str
    secret_key: str
    security_token: str
    ends_at: datetime


class IssuedKeys:
    """Each key is valid for `life`; expired keys are not found."""

    def __init__(self, life: timedelta) -> None:
        self._life = life
        self._by_access_key: dict[str, IssuedKey] = {}

    def issue(self, now: datetime) -> IssuedKey:
        key = IssuedKey(new_access_key(), new_secret_key(), secrets.token_urlsafe(96), now + self._life)
        self._by_access_key[key.access_key] = key
        return key

    def find(self, access_key: str, now: datetime) -> IssuedKey | None:
        key = self._by_access_key.get(access_key)
        return key if key and now < key.ends_at else None

    def expire_all(self) -> None:
        self._by_access_key.clear()


class Host(BaseModel):
    """tokens: whether its metadata service offers or requires metadata tokens. agency: whether it has an agency."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: Literal["unknown", "optional", "required"] = "optional"
    agency: bool = True
