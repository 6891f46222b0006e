"""Calling subscribers: the only place that talks to addresses that strangers name."""
