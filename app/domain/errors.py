"""The exceptions of the bridge, grouped by who must act.

BridgeError
├── CallerError            the caller must fix it: answered 4xx
│   └── InvalidField         a field is wrong: 422
├── OperatorError          an operator must act: settings, credentials, permissions
│   ├── UnfitRedis           Redis does not meet the bridge's requirements
│   └── Unrenderable         a template renders no message for an event
└── Unavailable            nobody: it recovers, wait
    └── NearlyFull           Redis is nearly out of memory: new registrations are refused
"""


class BridgeError(Exception):
    """The root of all exceptions that the bridge raises on purpose."""


class CallerError(BridgeError):
    """The caller must fix it."""


class InvalidField(CallerError):
    """A field is wrong.

    pointer: JSON pointer of the field (RFC 6901), e.g. `/callback_url`.
    detail:  describes what is wrong, and never repeats a secret.
    hint:    how to fix it, if known.
    """

    def __init__(self, pointer: str, detail: str, hint: str | None = None) -> None:
        super().__init__(f"{pointer}: {detail}")
        self.pointer = pointer
        self.detail = detail
        self.hint = hint


class OperatorError(BridgeError):
    """An operator must act; the message says how."""


class UnfitRedis(OperatorError):
    """Redis does not meet the requirements; the message says what was found, what is needed, why, and what to do."""


class Unrenderable(OperatorError):
    """A template renders no message for an event; the message names template, line and reason, and quotes no event."""


class Unavailable(BridgeError):
    """A dependency is unavailable for now; waiting is enough."""


class NearlyFull(Unavailable):
    """Redis is nearly out of memory: existing registrations continue, new ones are refused."""
