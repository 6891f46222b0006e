"""Who may call: one account's user and key pair, and the tokens given out to it."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from app.devkit.standin.refusal import Refusal, new_id


@dataclass(frozen=True, slots=True)
class Account:
    """The fields are those of the line that the stand-in prints."""

    iam_user: str
    iam_password: str
    iam_domain: str
    access_key: str
    secret_key: str
    project_id: str

    @classmethod
    def new(cls) -> Self:
        return cls(
            iam_user="bridge",
            iam_password=secrets.token_urlsafe(16),
            iam_domain="standin",
            access_key=secrets.token_hex(10).upper(),
            secret_key=secrets.token_urlsafe(30),
            project_id=new_id(),
        )


class Tokens:
    """Each lives for `life`; a new one does not end the old ones."""

    def __init__(self, life: timedelta) -> None:
        self._life = life
        self._ends: dict[str, datetime] = {}

    def issue(self, now: datetime) -> tuple[str, datetime]:
        """The token and its end."""
        token = "MII" + secrets.token_urlsafe(96)
        self._ends[token] = now + self._life
        return token, self._ends[token]

    def check(self, token: str, now: datetime) -> None:
        if token not in self._ends:
            raise Refusal(401, "APIGW.0301", "Incorrect IAM authentication information: decrypt token fail")
        if self._ends[token] <= now:
            raise Refusal(401, "APIGW.0307", "The token must be updated.")

    def expire_all(self, now: datetime) -> None:
        self._ends = dict.fromkeys(self._ends, now)
