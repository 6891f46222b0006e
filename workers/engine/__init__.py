"""The loop that drains an agenda, and the flag that stops it."""
