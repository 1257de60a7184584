"""A rollback to the version that is live is refused."""

from pathlib import Path

from sealgate.reasons import Reason
from tests.support.bureau import Bureau
from tests.support.people import refused


def test_a_rollback_to_the_live_version_is_refused(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path, f"sqlite:///{tmp_path}/registry.db").found()
    first = bureau.release(bureau.publish("one"))
    with refused(Reason.ROLLBACK_TARGET):
        bureau.roll_back(first, 2)
    second = bureau.release(bureau.publish("two"), predecessor=1)
    with refused(Reason.ROLLBACK_TARGET):
        bureau.roll_back(second, 3)
    bureau.roll_back(first, 3)
    with refused(Reason.ROLLBACK_TARGET):
        bureau.roll_back(first, 4)
    assert bureau.registry.pointers.get("digits", "production").sequence == 3


def test_a_smaller_share_of_the_same_version_is_another_promotion(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path, f"sqlite:///{tmp_path}/registry.db").found()
    version = bureau.publish("one")
    moves = []
    for at, share in enumerate((10, 50)):
        proposed = bureau.propose(version, alias="canary", predecessor=at, share=share)
        moves.append(bureau.promote(bureau.approve(proposed, "anna", "arne")))
    assert bureau.roll_back(moves[0], 3).sequence == 3
