"""Authentication and authorization of callers: API keys and JWTs."""
