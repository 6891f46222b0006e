"""The loop in which a worker drains its queue, and how it stops."""
