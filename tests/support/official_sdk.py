"""Imports the official SDK without HOME. Modules that use the SDK import this first."""

import pytest

with pytest.MonkeyPatch.context() as patch:
    # On import, the official SDK writes a file into the home directory.
    patch.delenv("HOME", raising=False)
    import huaweicloudsdkcore.http.user_agent  # noqa: F401
