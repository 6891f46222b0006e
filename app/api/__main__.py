"""`python -m app.api`: serves until SIGTERM."""

import logging
import sys
from contextlib import closing
from pathlib import Path

from app import logs
from app.bootstrap.runtime import Runtime
from app.bootstrap.stores import Stores
from app.config.settings import load, take_out
from app.config.tls_files import check_ca_file
from app.domain.errors import OperatorError, Unavailable, UnfitRedis

# gunicorn and Flask read these, and some would change what the API serves, or where.
SERVER_VARIABLES = (
    *("SCRIPT_NAME", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "PORT", "SENDFILE", "LISTEN_FDS", "LISTEN_PID"),
    *("GUNICORN_CMD_ARGS", "GUNICORN_PID", "GUNICORN_FD", "GUNICORN_DIRTY_SOCKET", "FLASK_DEBUG"),
)


def main() -> int:
    """Returns 2 if a setting is invalid or Redis is unfit; otherwise gunicorn ends the process."""
    logs.configure("INFO")
    if names := take_out(SERVER_VARIABLES):
        reason = "the BRIDGE_API_… settings take their place"
        logs.event("environment.ignored", level=logging.WARNING, names=names, reason=reason)
    from app.api.server import Server  # noqa: PLC0415 gunicorn reads the environment when it is imported

    try:
        settings = load()
        logs.configure(settings.log_level)
        runtime = Runtime(settings)
        runtime.warn_of_unknown_settings()
        runtime.check_configuration()
        if settings.oidc_ca_file:
            check_ca_file(Path(settings.oidc_ca_file), "BRIDGE_OIDC_CA_FILE")
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
