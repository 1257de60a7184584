"""The network between a gateway and its engine is cut: packets are lost, and no end is told."""

import time
from pathlib import Path

import pytest

from sealgate.setup.configuration import EnginePlace
from tests.support.callers import Callers
from tests.support.engine_process import EngineProcess
from tests.support.fault_report import hold, watched
from tests.support.house import House
from tests.support.other_network import other_network
from tests.support.site import Site

pytestmark = pytest.mark.long

_TARGET = 5.0


@pytest.mark.parametrize("seconds", [3, 30])
def test_is_cut(tmp_path: Path, seconds: int) -> None:
    with other_network() as network:
        place = EnginePlace(f"{network.host}:9000")
        site = Site(House(tmp_path / "state", engine=place))
        engine = EngineProcess(site.house.state, before=network.words)
        engine.start()
        try:
            site.gateway.start()
            site.house.publish("digits-1", "digits")
            site.promote(1)
            fault = f"network to the engine cut, {seconds} s"
            with watched(fault, site.gateway, _TARGET) as finding:
                with Callers(site.house) as callers:
                    callers.await_answers()
                    network.cut()
                    cut = time.monotonic()
                    time.sleep(seconds)
                    assert callers.times[-1] - cut < 1
                    network.join()
                    finding.recovery = callers.recovery(time.monotonic())
                    callers.await_answers()
                hold(finding, site.house, callers, {"1"})
            # A short one passes within callers' deadlines: what was lost is sent again.
            assert callers.failures or seconds < 5
        finally:
            site.close()
            engine.stop()
