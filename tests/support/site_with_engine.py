"""A gateway and its engine, each a process of its own, with a version in production."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sealgate.setup.configuration import EnginePlace
from tests.support.engine_process import EngineProcess
from tests.support.house import House
from tests.support.site import Site


@contextmanager
def site_with_engine(state: Path) -> Iterator[tuple[Site, EngineProcess]]:
    """Behind a socket, with digits 1 in production; `state` is to be new."""
    site = Site(House(state, engine=EnginePlace()))
    engine = EngineProcess(site.house.state)
    engine.start()
    try:
        site.gateway.start()
        site.house.publish("digits-1", "digits")
        site.promote(1)
        yield site, engine
    finally:
        site.close()
        engine.stop()
