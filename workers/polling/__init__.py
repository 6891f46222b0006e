"""Polling of CPH."""
