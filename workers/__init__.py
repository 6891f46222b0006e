"""Background work on RQ: polling CPH, delivering callbacks, dispatching."""
