"""What a Redis refuses to do for us: for each error its finding and its remedy, in words without a secret."""

import re
from dataclasses import dataclass

from redis.exceptions import (
    AskError,
    ClusterCrossSlotError,
    ClusterDownError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    ResponseError,
    TryAgainError,
)

from app.domain.errors import UnfitRedis

RIGHTS = "~cph:* ~rq:* &rq:* +@all -@admin -@dangerous +info +client|list"
NO_RENAMING = "the bridge needs Redis 7.0 or newer, or Valkey, and each command under its own name (no rename-command)"
MAX_MESSAGE_CHARS = 120
COMMAND = re.compile(r"'([\w|-]+)' command")
UNKNOWN_COMMAND = re.compile(r"unknown command ['`]?([\w|-]+)", re.IGNORECASE)
# About a command that a script calls: messages of Redis and of Valkey.
UNKNOWN_IN_SCRIPTS = ("Unknown Redis command", "Unknown command called")  # of Redis and of Valkey
NOT_IN_SCRIPTS = ("The user executing the script can't", "ACL failure in script")
CLUSTER_ERRORS = (MovedError, AskError, ClusterCrossSlotError, ClusterDownError, TryAgainError)
# Answers to a call that we have made wrongly, or of a script of ours that has failed.
OURS = re.compile(
    r"wrong number of arguments|syntax error|value is not|not an integer|min or max is not|no such key|user_script"
    r"|(?:running|compiling) script|wrong kind of value|Protocol error",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class FitnessFault:
    """what: the finding. remedy: what is needed, why, and what to do. unusable: our scripts cannot run there."""

    what: str
    remedy: str
    unusable: bool = True

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}"


SENTINEL = FitnessFault(
    "BRIDGE_REDIS_URL names a Sentinel, which stores no data",
    "set BRIDGE_REDIS_SENTINELS to host:port of the Sentinels, and BRIDGE_REDIS_SENTINEL_SERVICE to their name for the"
    " primary",
)
CLUSTER = FitnessFault(
    "Redis runs in cluster mode",
    "the bridge needs a Redis with `cluster-enabled no`, as its scripts use keys that a cluster stores on different"
    " nodes; for replicas, use Sentinel or a managed service without cluster mode",
)
PROTECTED = FitnessFault(
    "Redis is in protected mode and accepts commands from its own machine only",
    "give Redis a password, and BRIDGE_REDIS_URL the same one",
)
NO_DATABASE = FitnessFault(
    "Redis has no database of the number in BRIDGE_REDIS_URL",
    "end the URL with /0, or raise Redis' setting `databases`",
)
BY_TEXT = {
    "cluster mode": CLUSTER,
    "cluster support": CLUSTER,
    "DENIED": PROTECTED,
    "DB index": NO_DATABASE,
    "SELECT is not allowed": NO_DATABASE,
}


class RedisRefuses(UnfitRedis):
    """Redis has answered a command with an error that an operator must mend."""

    def __init__(self, fault: FitnessFault) -> None:
        super().__init__(str(fault))
        self.fault = fault


def is_refusal(error: Exception) -> bool:
    """Returns whether an operator must act; False for an error of the bridge's own, and for what is no answer."""
    if not isinstance(error, ResponseError) or isinstance(error, NoScriptError):
        return False
    if isinstance(error, (NoPermissionError, *CLUSTER_ERRORS)):
        return True
    if str(error).startswith((*NOT_IN_SCRIPTS, *UNKNOWN_IN_SCRIPTS)):
        return True
    return not OURS.search(str(error))


def fault_of(error: ResponseError) -> FitnessFault:
    """Returns the fault behind an error. Drops the arguments that Redis quotes, one of which may be a password."""
    message = str(error).partition(", with args")[0]
    if isinstance(error, CLUSTER_ERRORS):
        return CLUSTER
    for text, fault in BY_TEXT.items():
        if text in message:
            return fault
    if isinstance(error, NoPermissionError) or message.startswith(NOT_IN_SCRIPTS):
        return _missing_right(message)
    return _unknown_command(message) or FitnessFault(
        f"Redis rejects a command of the bridge: {_printable(message)[:MAX_MESSAGE_CHARS]}",
        'see docs/operations.md, "Settings that matter", for what the bridge needs',
    )


def _unknown_command(message: str) -> FitnessFault | None:
    if message.startswith(UNKNOWN_IN_SCRIPTS):
        return FitnessFault("Redis does not know a command that our scripts call", NO_RENAMING)
    if unknown := UNKNOWN_COMMAND.search(message):
        if unknown[1].upper() == "SELECT":  # sent for the database number in the URL; only a Sentinel does not know it
            return SENTINEL
        version_hint = ", as no version before 6.0 does" if unknown[1].upper() == "HELLO" else ""
        return FitnessFault(f"Redis does not know the command {_upper(unknown[1])}{version_hint}", NO_RENAMING)
    return None


def _missing_right(message: str) -> FitnessFault:
    """message: of Redis or of Valkey, about a command, a key or a channel."""
    command, at_least = COMMAND.search(message), ""
    if command:
        lacks, at_least = f"may not call {_upper(command[1])}", f" (it lacks +{command[1]})"
    elif "channel" in message:
        lacks, at_least = "may not publish to RQ's channels", " (it lacks &rq:*)"
    elif "key" in message:
        lacks, at_least = "may not use a key of the bridge or of RQ", " (it lacks ~cph:* or ~rq:*)"
    else:
        lacks = "lacks rights that our scripts need"
    return FitnessFault(
        f"the user of BRIDGE_REDIS_URL {lacks}", f"give it these rights with ACL SETUSER: {RIGHTS}{at_least}"
    )


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _upper(command: str) -> str:
    return command.replace("|", " ").upper()
