"""Every process that remembers times goes by the steady clock."""

from types import ModuleType

import pytest

from gateway import app, backends
from generation.serving import generator_server
from sealgate import steady_clock


@pytest.mark.parametrize("builder", [app, backends, generator_server])
def test_each_process_uses_the_steady_clock(builder: ModuleType) -> None:
    """Each builder passes this clock to the objects that store what was seen."""
    assert vars(builder)["now"] is steady_clock.now
