"""The credentials of one account: user, key pair and service account."""

import secrets
from dataclasses import dataclass
from typing import Self

from app.devkit.standin.refusal import new_id


@dataclass(frozen=True, slots=True)
class Account:
    """Has the fields of the line that the stand-in prints. pod_token: the token of the pods of the service account."""

    iam_user: str
    iam_password: str
    iam_domain: str
    access_key: str
    secret_key: str
    project_id: str
    pod_token: str

    @classmethod
    def new(cls) -> Self:
        return cls(
            iam_user="bridge",
            iam_password=secrets.token_urlsafe(16),
            iam_domain="standin",
            access_key=new_access_key(),
            secret_key=new_secret_key(),
            project_id=new_id(),
            pod_token=secrets.token_urlsafe(60),
        )


def new_access_key() -> str:
    return secrets.token_hex(10).upper()


def new_secret_key() -> str:
    return secrets.token_urlsafe(30)
