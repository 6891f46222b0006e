"""Authentication and authorisation of callers: API keys and JWTs."""
