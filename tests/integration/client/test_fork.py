"""A gateway whose whole state is put back to an earlier day is found out by any client of it."""

import shutil

import pytest

import sealgate
from sealgate.client.client import options_of
from sealgate.reasons import Reason
from sealgate.remote.errors import LogFork
from sealgate.trust.transparency import open_checkpoint
from tests.support.harness.gateway import GatewayHarness, rows, running


@pytest.fixture
def harness(tmp_path):
    with running(tmp_path / "state", "digits-standard") as harness:
        harness.promote("digits", 1)
        yield harness


def ask(harness: GatewayHarness, count: int) -> None:
    profile = harness.profile("client")
    witness = harness.state.parent / "witness.json"
    options = {**options_of(profile), "witness": witness}
    with sealgate.connect(profile.endpoint, **options) as client:
        for row in rows(count=count):
            client.infer("digits", {"x": row[None]})


@pytest.mark.parametrize("grown", [0, 5])
def test_a_state_put_back_to_an_earlier_day_is_noticed(harness, tmp_path, grown):
    """Shrunk at first; when it has grown past what was seen, forked."""
    ask(harness, 2)
    harness.stop()
    shutil.copytree(harness.state, tmp_path / "earlier")
    harness.start()
    ask(harness, 3)
    seen = harness.gateway.recorder.size
    harness.stop()
    shutil.rmtree(harness.state)
    shutil.copytree(tmp_path / "earlier", harness.state)
    harness.start()
    profile = harness.profile("client")
    # Somebody else, who was not there before, notices nothing.
    with sealgate.connect(
        profile.endpoint, **{**options_of(profile), "witness": tmp_path / "new.json"}
    ) as newcomer:
        for row in rows(count=grown):
            newcomer.infer("digits", {"x": row[None]})
    with pytest.raises(LogFork) as caught:
        ask(harness, 1)
    assert caught.value.reason is Reason.LOG_INCONSISTENT
    key = harness.governance("client").policy().log_key("house.localhost/answers")
    old, new = (open_checkpoint(note, key).size for note in caught.value.notes)
    assert old < new
    assert seen == (old if grown else new)


def test_an_honest_restart_is_not_mistaken_for_a_fork(harness):
    ask(harness, 2)
    harness.stop()
    harness.start()
    ask(harness, 2)
