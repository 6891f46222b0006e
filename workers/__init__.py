"""The RQ face: what runs in the background."""
