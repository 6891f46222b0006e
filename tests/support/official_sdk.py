"""Imports the official SDK where it cannot write into the home directory; whoever judges by it imports this first."""

import pytest

with pytest.MonkeyPatch.context() as patch:
    # As it is imported, the official SDK writes a file into the home directory.
    patch.delenv("HOME", raising=False)
    import huaweicloudsdkcore.http.user_agent  # noqa: F401
