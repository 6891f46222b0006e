"""Refusals by the gateway of the whole account, project or API."""

from collections.abc import Mapping
from typing import Literal

from app.devkit.standin.refusal import CallRefused

GatewayCode = Literal[
    "APIGW.0101",
    "APIGW.0103",
    "APIGW.0302",
    "APIGW.0304",
    "APIGW.0306",
    "APIGW.0310",
    "APIGW.0401",
    "APIGW.0402",
    "APIGW.0613",
    "APIGW.0801",
    "APIGW.0802",
]

# Statuses and texts: API Gateway, "Error Codes".
ANSWERS: Mapping[GatewayCode, tuple[int, str]] = {
    "APIGW.0101": (404, "The API does not exist or has not been published in the environment"),
    "APIGW.0103": (404, "The backend does not exist"),
    "APIGW.0302": (403, "The IAM user is not allowed to access the API"),
    "APIGW.0304": (403, "The app is not allowed to access the API"),
    "APIGW.0306": (403, "API access denied"),
    "APIGW.0310": (403, "The project is unavailable"),
    "APIGW.0401": (403, "Unknown client IP address"),
    "APIGW.0402": (403, "The IP address is not authorized to access the API"),
    "APIGW.0613": (503, "The IAM service is unavailable"),
    "APIGW.0801": (403, "The service is unavailable in the currently selected region"),
    "APIGW.0802": (403, "The IAM user is forbidden in the currently selected region"),
}


def gateway_refusal(code: GatewayCode) -> CallRefused:
    status, message = ANSWERS[code]
    return CallRefused(status, code, message)
