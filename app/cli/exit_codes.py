"""Exit codes of a command that was stopped: as `timeout` and shells use them (128 + signal)."""

TIMED_OUT = 124
INTERRUPTED = 130
BROKEN_PIPE = 141
