"""The installed version."""

from importlib.metadata import version

VERSION = version("cph-webhook-bridge")
