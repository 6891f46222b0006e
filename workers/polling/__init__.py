"""Polling CPH."""
