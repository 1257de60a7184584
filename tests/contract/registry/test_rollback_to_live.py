"""A rollback to the version that is live is refused."""

from pathlib import Path

from sealgate.reasons import Reason
from tests.support.builders.documents.people import refused
from tests.support.harness.registry import RegistryHarness


def test_a_rollback_to_the_live_version_is_refused(tmp_path: Path) -> None:
    harness = RegistryHarness(tmp_path, f"sqlite:///{tmp_path}/registry.db").found()
    first = harness.release(harness.publish("one"))
    with refused(Reason.ROLLBACK_TARGET):
        harness.roll_back(first, 2)
    second = harness.release(harness.publish("two"), predecessor=1)
    with refused(Reason.ROLLBACK_TARGET):
        harness.roll_back(second, 3)
    harness.roll_back(first, 3)
    with refused(Reason.ROLLBACK_TARGET):
        harness.roll_back(first, 4)
    assert harness.registry.pointers.get("digits", "production").sequence == 3


def test_a_smaller_share_of_the_same_version_is_another_promotion(tmp_path: Path) -> None:
    harness = RegistryHarness(tmp_path, f"sqlite:///{tmp_path}/registry.db").found()
    version = harness.publish("one")
    moves = []
    for at, share in enumerate((10, 50)):
        proposed = harness.propose(version, alias="canary", predecessor=at, share=share)
        moves.append(harness.promote(harness.approve(proposed, "anna", "arne")))
    assert harness.roll_back(moves[0], 3).sequence == 3
