"""The bridge: everything but the RQ face."""

from importlib.metadata import version

VERSION = version("cph-webhook-bridge")
