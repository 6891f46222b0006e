"""The connection to Redis, the keys, and the Lua scripts."""
