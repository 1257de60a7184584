"""Which opened answers a threshold, a version or a log's key touches."""

from sealgate.audit import radius_of_threshold
from sealgate.audit.blast_radius import BlastRadius
from tests.support.builders.documents.people import ANSWER_LOG, VERSION_DIGEST

VALUES = {"model": "digits", "version_digest": VERSION_DIGEST, "pointer_sequence": "2"}


def test_how_far_a_threshold_reaches() -> None:
    reach = radius_of_threshold(2.5)
    assert reach.searches(ANSWER_LOG) == (("2.5",),)
    assert reach.touches(ANSWER_LOG, {"threshold": "2.5", "version_digest": ""})
    assert not reach.touches(ANSWER_LOG, {"threshold": "2.51", "version_digest": ""})


def test_a_pointer_reaches_its_own_answers_alone() -> None:
    reach = BlastRadius(places={("digits", VERSION_DIGEST, "2")})
    assert reach.searches(ANSWER_LOG) == ((VERSION_DIGEST,),)
    assert reach.touches(ANSWER_LOG, VALUES)
    assert not reach.touches(ANSWER_LOG, {**VALUES, "pointer_sequence": "3"})
    assert not reach.touches(ANSWER_LOG, {**VALUES, "model": "cats"})


def test_a_logs_key_reaches_all_of_it() -> None:
    reach = BlastRadius(logs={ANSWER_LOG})
    assert reach.searches(ANSWER_LOG) == ((),)
    assert reach.touches(ANSWER_LOG, VALUES)
    assert reach.searches("example.org/others") == ()
    assert not reach.touches("example.org/others", VALUES)
