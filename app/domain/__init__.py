"""Business rules as pure code: no clock, no randomness, no I/O."""
