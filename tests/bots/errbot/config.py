"""Configuration of an Errbot that prints its messages to stdout. Errbot itself reads this file."""

import logging
from pathlib import Path

HERE = Path(__file__).parent  # each test has its own copy
BACKEND = "Text"
TEXT_DEMO_MODE = True
BOT_DATA_DIR = str(HERE / "data")
BOT_EXTRA_PLUGIN_DIR = str(HERE / "cph")
BOT_LOG_FILE = str(HERE / "errbot.log")
BOT_LOG_LEVEL = logging.INFO
BOT_ADMINS = ("@admin",)
CHATROOM_PRESENCE = ("#ops",)
CORE_PLUGINS = ("Webserver",)
