"""What a callback looks like on the wire: one file a format, event → bytes."""
