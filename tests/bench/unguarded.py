"""A deliver worker without the address guard: the difference in CPU time is the cost of the guard."""

import sys
from typing import Any

from app.domain.callback_url import CallbackUrl
from app.transport.sockets import connect_anywhere
from app.webhooks import sender
from tests.bench.bridge import BridgeUnderBench
from workers.__main__ import main


class Unguarded(BridgeUnderBench):
    name = "bridge without its guard"

    def command(self, kind: str) -> list[str]:
        return [sys.executable, "-m", "tests.bench.unguarded", kind]


if __name__ == "__main__":
    module: Any = sender
    module.parse = lambda url, _policy, _tenant: CallbackUrl(url, "http", "", 80)
    module.Guard = lambda *_: connect_anywhere
    sys.exit(main(sys.argv[1]))
