"""Everything here needs the native transport."""

import pytest

from tests.support.harness.transports import need_native


@pytest.fixture(scope="package", autouse=True)
def built() -> None:
    """Before the fixtures of a module, which start it."""
    need_native()
