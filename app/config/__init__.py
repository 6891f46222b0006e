"""Settings, and the files that operators change while the bridge runs."""
