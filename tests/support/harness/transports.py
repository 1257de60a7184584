"""Whether tests of the native transport can run."""

import os

import pytest

from gateway.transport.native import is_available

_MISSING = "the native transport is not built: make front"


def need_native() -> None:
    """Skip the test where the native transport is not built; fail it in CI, which builds it."""
    if is_available():
        return
    if os.environ.get("CI"):
        pytest.fail(_MISSING)
    pytest.skip(_MISSING)
