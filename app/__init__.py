"""The bridge: everything but the RQ face."""
