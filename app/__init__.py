"""The bridge, except for the RQ workers."""
