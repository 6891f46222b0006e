"""Error answers, in the shapes of CPH's gateway and of IAM."""

import secrets
from collections.abc import Mapping
from typing import Any

from flask import Response

from app.devkit.serving import json_answer


class CallRefused(Exception):
    """Ends a call with an error; `create_app` registers the handler that answers it."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.body: Mapping[str, Any] = {"error_msg": message, "error_code": code, "request_id": new_id()}

    def answer(self) -> Response:
        return json_answer(self.body, self.status)


class IamCallRefused(CallRefused):
    """IAM's own errors have this shape; errors of its gateway have the common one."""

    def __init__(self, status: int, title: str, message: str) -> None:
        super().__init__(status, title, message)
        self.body = {"error": {"code": status, "message": message, "title": title}}


def new_id() -> str:
    """Returns 32 hexadecimal digits, like CPH's ids."""
    return secrets.token_hex(16)
