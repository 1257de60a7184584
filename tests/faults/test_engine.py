"""An engine of its own process that is killed, and one that hangs."""

import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from sealgate.reasons import Reason
from sealgate.v1.registry_pb2 import GetPolicyRequest
from tests.support.callers import Callers
from tests.support.engine_process import EngineProcess
from tests.support.fault_report import hold, watched
from tests.support.site import Site
from tests.support.site_with_engine import site_with_engine

# An engine that is away is looked for each second.
_TARGET = 3.0


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Site, EngineProcess]]:
    with site_with_engine(tmp_path / "state") as found:
        yield found


@pytest.mark.long
def test_is_killed(pair: tuple[Site, EngineProcess]) -> None:
    site, engine = pair
    with watched("engine killed", site.gateway, _TARGET) as finding, Callers(site.house) as callers:
        callers.await_answers()
        engine.kill()
        callers.await_failures(Reason.ENGINE_UNAVAILABLE)
        time.sleep(3)
        engine.start()
        finding.recovery = callers.recovery(time.monotonic())
        callers.await_answers()
    hold(finding, site.house, callers, {"1"})
    assert set(callers.failures) == {Reason.ENGINE_UNAVAILABLE}


@pytest.mark.long
def test_hangs(pair: tuple[Site, EngineProcess]) -> None:
    """Callers wait until their deadline, or hear that it is away; whoever asks anything else of
    the gateway is answered.
    """
    site, engine = pair
    with watched("engine hung", site.gateway, _TARGET) as finding, Callers(site.house) as callers:
        callers.await_answers()
        engine.pause()
        try:
            time.sleep(15)
            assert site.house.registry("auditor").GetPolicy(GetPolicyRequest(), timeout=5)
            assert time.monotonic() - callers.times[-1] > 10
        finally:
            engine.resume()
        finding.recovery = callers.recovery(time.monotonic())
        callers.await_answers()
    hold(finding, site.house, callers, {"1"})
    assert set(callers.failures) <= {Reason.ENGINE_UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
