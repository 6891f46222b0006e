"""Redis: every key in keys.py, one module a noun, one script a verb."""
