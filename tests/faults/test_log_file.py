"""The answer log's file is cut short, or an older one is put in its place."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.callers import Callers
from tests.support.fault_report import hold, watched
from tests.support.site import Site, until

pytestmark = pytest.mark.long

_TARGET = 30.0


def set_aside(state: Path, name: str) -> Callable[[], None]:
    """A copy of the log as it is; what is returned puts it back."""
    kept = state / name
    kept.mkdir()
    for path in state.glob("answers.db*"):
        shutil.copy2(path, kept)

    def put_back() -> None:
        for path in state.glob("answers.db*"):
            path.unlink()
        for path in kept.iterdir():
            shutil.copy2(path, state)

    return put_back


def refused(site: Site) -> str:
    """What a gateway says that does not start."""
    site.gateway.launch()
    assert site.gateway.ended() != 0
    return site.gateway.printed


def test_is_cut_short_while_nobody_runs(site: Site) -> None:
    """A gateway that finds less than was there before does not start, and says why."""
    state, log = site.house.state, site.house.state / "answers.db"
    site.gateway.start()
    site.promote(1)
    with watched("log file cut short", site.gateway, _TARGET) as finding:
        with Callers(site.house) as callers:
            callers.await_answers(100)
        site.gateway.stop()
        older = set_aside(state, "older")
        site.gateway.start()
        with Callers(site.house) as more:
            more.await_answers(100)
        site.gateway.stop()
        genuine = set_aside(state, "genuine")
        for size in (log.stat().st_size // 2 // 4096 * 4096, 4096, 100, 0):
            with log.open("r+b") as file:
                file.truncate(size)
            assert "LOG_INCONSISTENT" in (said := refused(site)) or "REGISTRY_UNAVAIL" in said, said
            genuine()
        older()
        assert "LOG_INCONSISTENT" in refused(site)
        genuine()
        finding.recovery = until(lambda: site.gateway.start() is None)
        site.await_version(1)
        callers.leaves |= more.leaves
        callers.versions += more.versions
        hold(finding, site.house, callers, {"1"})
