"""Whether anchors and the newest checkpoint follow a log's replaced key."""

import pytest

from sealgate.audit.answer_logs import Anchor, check_hand_overs, hand_over_size, log_keys
from sealgate.reasons import Reason
from sealgate.trust.policy.validity import FormerLogKey, FormerLogKeys
from sealgate.trust.transparency import Checkpoint, sign_checkpoint
from sealgate.trust.transparency.note import vkey
from tests.support.builders.documents.people import ANSWER_LOG, key, make_policy, refused

OLD, NEW = key("answers-before"), key("answer-log")
FORMER = FormerLogKeys({ANSWER_LOG: (FormerLogKey(vkey(ANSWER_LOG, OLD.public)),)})
POLICIES = [
    make_policy(answer_logs=(vkey(ANSWER_LOG, OLD.public),)),
    make_policy(version=2, former_logs=FORMER),
]
KEYS = log_keys(POLICIES, ANSWER_LOG)


def note(size: int, *signers: str) -> str:
    first, *others = (
        sign_checkpoint(Checkpoint(ANSWER_LOG, size, bytes(32)), OLD if each == "old" else NEW)
        for each in signers
    )
    return first + "".join(each.partition("\n\n")[2] for each in others)


def anchors(*notes: str) -> list[Anchor]:
    return [
        Anchor(entry, "2026-11-29T10:00:00Z", int(each.split("\n")[1]), each)
        for entry, each in enumerate(notes)
    ]


def test_a_log_is_handed_over_once() -> None:
    found = anchors(note(5, "old"), note(9, "old", "new"), note(12, "new"))
    check_hand_overs(found, note(14, "new"), KEYS)
    assert hand_over_size(found, POLICIES[-1].log_key(ANSWER_LOG)) == 9
    # While nothing tells of a hand-over, either may have signed.
    for signer in ("old", "new"):
        check_hand_overs(found[:1], note(14, signer), KEYS)


@pytest.mark.parametrize(
    ("later", "newest", "what"),
    [("old", "new", "entry 2"), ("new", "old", "the newest checkpoint")],
)
def test_a_key_that_was_handed_over_signs_no_more(later: str, newest: str, what: str) -> None:
    """Its thief would go on with the log under it, while the policy still lists it."""
    found = anchors(note(5, "old"), note(9, "old", "new"), note(12, later))
    with refused(Reason.LOG_INCONSISTENT) as caught:
        check_hand_overs(found, note(14, newest), KEYS)
    assert what in caught.value.detail


def test_nothing_is_handed_over_before_an_anchor_tells() -> None:
    with refused(Reason.ENTRY_UNANCHORED):
        hand_over_size(anchors(note(5, "old")), POLICIES[-1].log_key(ANSWER_LOG))
