"""Nothing here runs where the native transport is not built."""

import pytest

from gateway.transport.native import is_available


@pytest.fixture(autouse=True)
def built() -> None:
    if not is_available():
        pytest.skip("the native transport is not built: make front")
