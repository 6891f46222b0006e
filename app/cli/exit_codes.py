"""What a command ends with when it is ended: as a shell has it for a program that a signal ended, and `timeout`."""

TIMED_OUT = 124
INTERRUPTED = 130
NOBODY_READS = 141
