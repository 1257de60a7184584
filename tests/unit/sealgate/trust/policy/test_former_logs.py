"""Former keys of logs: what a policy may say of them, and which checkpoints they vouch for."""

import pytest

from sealgate.reasons import Reason
from sealgate.trust.policy import Policy
from sealgate.trust.policy.validity import FormerLogKey, FormerLogKeys
from sealgate.trust.transparency import (
    Checkpoint,
    RotatingSigner,
    log_vkey,
    ml_dsa,
    open_checkpoint,
    sign_checkpoint,
)
from sealgate.trust.transparency.checkpoint import former_line
from sealgate.trust.transparency.ml_dsa import LogCosigners, MlDsaKey, PairedSigner
from sealgate.trust.transparency.note import vkey
from tests.support.builders.documents.people import (
    ANSWER_LOG,
    REGISTRY_LOG,
    key,
    make_policy,
    refused,
)

OLD, NEW = key("answers-before"), key("answer-log")


def policy(**former: tuple[FormerLogKey, ...]) -> Policy:
    keys = {ANSWER_LOG if name == "answers" else name: value for name, value in former.items()}
    return make_policy(former_logs=FormerLogKeys(keys))


def note(size: int, *, by_old: bool) -> str:
    return sign_checkpoint(Checkpoint(ANSWER_LOG, size, bytes(32)), OLD if by_old else NEW)


def test_both_keys_are_believed_while_one_is_replaced() -> None:
    named = policy(answers=(FormerLogKey(vkey(ANSWER_LOG, OLD.public)),))
    assert Policy.decode(named.encode()) == named
    text = named.log_key(ANSWER_LOG)
    for by_old in (False, True):
        assert open_checkpoint(note(10, by_old=by_old), text).size == 10


def test_a_former_key_vouches_up_to_the_hand_over() -> None:
    named = policy(answers=(FormerLogKey(vkey(ANSWER_LOG, OLD.public), 9),))
    assert Policy.decode(named.encode()) == named
    text = named.log_key(ANSWER_LOG)
    assert open_checkpoint(note(9, by_old=True), text).size == 9
    with refused(Reason.SIGNATURE_INVALID):
        open_checkpoint(note(10, by_old=True), text)
    assert open_checkpoint(note(10, by_old=False), text).size == 10


def test_a_former_key_vouches_with_the_ml_dsa_key_that_stays() -> None:
    beside = MlDsaKey.generate()
    former = FormerLogKeys({ANSWER_LOG: (FormerLogKey(vkey(ANSWER_LOG, OLD.public), 9),)})
    second = LogCosigners({ANSWER_LOG: ml_dsa.vkey(ANSWER_LOG, beside.raw)})
    text = make_policy(former_logs=former, ml_dsa=second).log_key(ANSWER_LOG)
    both = RotatingSigner(PairedSigner(OLD, beside), PairedSigner(NEW, beside))
    assert log_vkey(ANSWER_LOG, both) == "\n".join(
        f"{vkey(ANSWER_LOG, each.public)} {second.keys[ANSWER_LOG]}" for each in (OLD, NEW)
    )
    for signer in both.signers:
        signed = sign_checkpoint(Checkpoint(ANSWER_LOG, 9, bytes(32)), signer)
        assert open_checkpoint(signed, text).size == 9
    with refused(Reason.SIGNATURE_INVALID):
        open_checkpoint(note(9, by_old=True), text)


def test_a_key_that_is_not_listed_any_more_vouches_for_nothing() -> None:
    with refused(Reason.SIGNATURE_INVALID):
        open_checkpoint(note(1, by_old=True), make_policy().log_key(ANSWER_LOG))


@pytest.mark.parametrize(
    ("origin", "former"),
    [
        ("example.org/other", (FormerLogKey(vkey("example.org/other", OLD.public)),)),
        (ANSWER_LOG, (FormerLogKey(vkey(ANSWER_LOG, NEW.public)),)),
        (ANSWER_LOG, (FormerLogKey(vkey(REGISTRY_LOG, OLD.public)),)),
        (ANSWER_LOG, ()),
        (ANSWER_LOG, (FormerLogKey(vkey(ANSWER_LOG, OLD.public)),) * 2),
    ],
    ids=["no such log", "the key that signs now", "another log's name", "none", "twice"],
)
def test_what_a_policy_may_not_say(origin: str, former: tuple[FormerLogKey, ...]) -> None:
    with refused(Reason.POLICY_INVALID):
        make_policy(former_logs=FormerLogKeys({origin: former}))


def test_a_signer_goes_on_with_the_next_key_once() -> None:
    signer = RotatingSigner(OLD, NEW)
    lines = log_vkey(ANSWER_LOG, signer).split("\n")
    assert lines == [vkey(ANSWER_LOG, OLD.public), vkey(ANSWER_LOG, NEW.public)]
    for _ in range(2):
        signer.hand_over(7)
        # The former one vouches for what there was.
        handed = [lines[1], former_line(lines[0], 7)]
        assert log_vkey(ANSWER_LOG, signer).split("\n") == handed
        assert signer.public == NEW.public
