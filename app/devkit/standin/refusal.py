"""Refusing a call, in the shape that CPH and its gateway share."""

import secrets

from flask import Response

from app.devkit.serving import json_answer


class Refusal(Exception):
    """Ends a call; `create_app` turns it into the answer."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message

    def answer(self) -> Response:
        body = {"error_msg": self.message, "error_code": self.code, "request_id": new_id()}
        return json_answer(body, self.status)


def new_id() -> str:
    """32 hexadecimal digits, as CPH's own ids."""
    return secrets.token_hex(16)
