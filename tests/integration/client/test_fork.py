"""A gateway whose whole state is put back to an earlier day is found out by any client of it."""

import shutil

import pytest

import sealgate
from sealgate.client.connection import options_of
from sealgate.reasons import Reason
from sealgate.remote.errors import LogFork
from sealgate.trust.transparency import open_checkpoint
from tests.support.house import House, rows, running


@pytest.fixture
def house(tmp_path):
    with running(tmp_path / "state", "digits-1") as house:
        house.promote("digits", 1)
        yield house


def ask(house: House, count: int) -> None:
    profile = house.profile("client")
    witness = house.state.parent / "witness.json"
    options = {**options_of(profile), "witness": witness}
    with sealgate.connect(profile.endpoint, **options) as client:
        for row in rows(count=count):
            client.infer("digits", {"x": row[None]})


@pytest.mark.parametrize("grown", [0, 5])
def test_a_state_put_back_to_an_earlier_day_is_noticed(house, tmp_path, grown):
    """Shrunk at first; when it has grown past what was seen, forked."""
    ask(house, 2)
    house.stop()
    shutil.copytree(house.state, tmp_path / "earlier")
    house.start()
    ask(house, 3)
    seen = house.gateway.recorder.size
    house.stop()
    shutil.rmtree(house.state)
    shutil.copytree(tmp_path / "earlier", house.state)
    house.start()
    profile = house.profile("client")
    # Somebody else, who was not there before, notices nothing.
    with sealgate.connect(
        profile.endpoint, **{**options_of(profile), "witness": tmp_path / "new.json"}
    ) as newcomer:
        for row in rows(count=grown):
            newcomer.infer("digits", {"x": row[None]})
    with pytest.raises(LogFork) as caught:
        ask(house, 1)
    assert caught.value.reason is Reason.LOG_INCONSISTENT
    key = house.governance("client").policy().log_key("house.localhost/answers")
    old, new = (open_checkpoint(note, key).size for note in caught.value.notes)
    assert old < new
    assert seen == (old if grown else new)


def test_an_honest_restart_is_not_mistaken_for_a_fork(house):
    ask(house, 2)
    house.stop()
    house.start()
    ask(house, 2)
