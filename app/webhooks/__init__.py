"""Sends callbacks to subscribers: the only package that connects to addresses given by callers."""
