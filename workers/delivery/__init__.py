"""Delivering callbacks."""
