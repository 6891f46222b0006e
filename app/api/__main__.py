"""`python -m app.api`: serves until SIGTERM."""

import logging
import sys
from contextlib import closing

from app import logs
from app.api.server import Server
from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.config.settings import load
from app.domain.errors import OperatorError, Unavailable, UnfitRedis


def main() -> int:
    """Returns 2 if a setting is invalid or Redis is unfit; otherwise gunicorn ends the process."""
    logs.configure("INFO")
    try:
        settings = load()
        logs.configure(settings.log_level)
        runtime = Runtime(settings)
        runtime.check_configuration()
        _check_redis(runtime.stores)
        Server(settings).run()
    except UnfitRedis as error:
        logs.event("redis.unfit", level=logging.CRITICAL, reason=str(error))
    except OperatorError as error:
        logs.event("settings.wrong", level=logging.CRITICAL, reason=str(error))
    return 2


def _check_redis(stores: Stores) -> None:
    """Raises UnfitRedis. While Redis is unavailable the API answers 503; it repeats the check once Redis answers."""
    with closing(stores.redis):
        try:
            stores.fitness.check()
        except Unavailable as error:
            logs.event("redis.unavailable", level=logging.ERROR, reason=str(error))


if __name__ == "__main__":
    sys.exit(main())
