"""Code that applies to every request: limits, idempotency, request log, errors."""
