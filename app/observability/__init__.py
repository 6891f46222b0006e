"""What is measured: one list, counted where it happens, read from Redis when asked, shown as Prometheus reads it."""
