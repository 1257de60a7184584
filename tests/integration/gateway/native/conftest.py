"""Everything here needs the native transport."""

import pytest

from tests.support.harness.transports import need_native


@pytest.fixture(autouse=True)
def built() -> None:
    need_native()
