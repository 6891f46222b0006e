"""Metrics, traces and probes. Metrics are counted in each process or read from Redis, and served for Prometheus."""
