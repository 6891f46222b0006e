"""Redis: all keys in keys.py, one module per noun, one Lua script per verb."""
