"""An Errbot whose rooms are lines on stdout. Read by Errbot itself."""

import logging
from pathlib import Path

HERE = Path(__file__).parent  # a copy of its own for each test
BACKEND = "Text"
TEXT_DEMO_MODE = True
BOT_DATA_DIR = str(HERE / "data")
BOT_EXTRA_PLUGIN_DIR = str(HERE / "cph")
BOT_LOG_FILE = str(HERE / "errbot.log")
BOT_LOG_LEVEL = logging.INFO
BOT_ADMINS = ("@admin",)
CHATROOM_PRESENCE = ("#ops",)
CORE_PLUGINS = ("Webserver",)
