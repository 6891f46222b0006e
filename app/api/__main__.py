"""`python -m app.api`: serves until SIGTERM."""

import logging
import sys

from app import logs
from app.api.serving import Server
from app.domain.errors import OperatorError
from app.runtime import Runtime
from app.settings import load


def main() -> int:
    """2 if a setting is wrong; gunicorn ends the process itself."""
    logs.configure("INFO")
    try:
        settings = load()
        logs.configure(settings.log_level)
        Runtime(settings).tenants.current()  # a file that is wrong is told of now; later, the last good one holds
        Server(settings).run()
    except OperatorError as error:
        logs.event("settings.wrong", level=logging.CRITICAL, reason=str(error))
    return 2


if __name__ == "__main__":
    sys.exit(main())
