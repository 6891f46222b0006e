"""The exceptions of the bridge, grouped by who must act.

BridgeError
├── CallerError            the caller can mend it: answered 4xx
│   └── InvalidField         a field is wrong: 422
├── OperatorError          an operator must act: settings, credentials, permissions
│   ├── UnfitRedis           Redis is not such as the bridge needs it
│   └── Unrenderable         a template gives no message for an event
└── Unavailable            nobody: it will heal, wait
    └── NearlyFull           Redis has little memory left: nothing more is taken
"""


class BridgeError(Exception):
    """Everything that the bridge raises on purpose."""


class CallerError(BridgeError):
    """The caller can mend it."""


class InvalidField(CallerError):
    """A field is wrong.

    pointer: JSON pointer of the field (RFC 6901), e.g. `/callback_url`.
    detail:  what is wrong, in words, without repeating a secret.
    hint:    the way out, if there is one.
    """

    def __init__(self, pointer: str, detail: str, hint: str | None = None) -> None:
        super().__init__(f"{pointer}: {detail}")
        self.pointer = pointer
        self.detail = detail
        self.hint = hint


class OperatorError(BridgeError):
    """An operator must act; the text says what to do."""


class UnfitRedis(OperatorError):
    """Redis is not such as the bridge needs it; the text says what was found, what is needed, why, and what to do."""


class Unrenderable(OperatorError):
    """A template gives no message for an event; the text names template, line and reason, and quotes no event."""


class Unavailable(BridgeError):
    """Something that we stand on is away for now; waiting heals it."""


class NearlyFull(Unavailable):
    """Redis has little memory left: what has been taken goes on, nothing more is."""
