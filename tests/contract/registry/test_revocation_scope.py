"""The right to revoke one model revokes no other, though both hold the same bytes."""

from dataclasses import replace

import pytest

from inference.engine.engine import Engine
from registry.state.records import VersionRecord
from sealgate.audit.as_of import live_pointers
from sealgate.reasons import Reason
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import Right
from sealgate.trust.policy.rights import ALL
from sealgate.trust.statements import Freshness, oms
from sealgate.trust.statements.verification import revoked_model
from sealgate.trust.times import format_time
from tests.support.bureau import Bureau
from tests.support.engine_outcomes import FILES
from tests.support.excerpts import opened
from tests.support.intruder import engine_of, follow, publish
from tests.support.people import p256_key, refused


def may_revoke(*models: str) -> tuple[Right, ...]:
    return (Right((), ("admin",), ("revoke",), models, (ALL,)),)


class Scene:
    """`digits` and `test` answer with the same bytes in production; an engine follows."""

    def __init__(self, bureau: Bureau, *models: str) -> None:
        """The admin may revoke `models`."""
        self.bureau = bureau
        self.theirs = publish(bureau, FILES)
        bureau.registry.models.create("paula", "test")
        self.own = self._publish_again()
        assert self.own.digest == self.theirs.digest
        bureau.release(self.theirs)
        bureau.release(self.own)
        bureau.accept(rights=may_revoke(*models))
        self.engine = engine_of(bureau)
        follow(self.engine, bureau)

    def _publish_again(self) -> VersionRecord:
        bureau = self.bureau
        manifest = bureau.upload(FILES, "test")
        evidence = [bureau.evidence(manifest, created=format_time(bureau.now))]
        return bureau.registry.versions.register(
            "paula",
            "test",
            manifest.encode(),
            oms.sign(manifest, p256_key("paula")),
            evidence,
            bureau.commitment("test"),
        )

    def revoked(self) -> tuple[str, ...]:
        envelope = Envelope.decode(self.bureau.registry.snapshot().freshness)
        return Freshness.decode(envelope.payload).revoked

    def answering(self, engine: Engine | None = None) -> set[str]:
        """The models that answer, by this engine or one with its memory that starts anew."""
        engine = engine or self.engine
        follow(engine, self.bureau)
        return {model for model, _ in engine.live()}


def test_who_may_revoke_one_model_revokes_no_other(bureau: Bureau) -> None:
    scene = Scene(bureau, "test")
    assert scene.answering() == {"digits", "test"}
    bureau.revoke(scene.own)
    assert scene.revoked() == (revoked_model("test", scene.own.digest),)
    for engine in (scene.engine, engine_of(bureau)):
        assert scene.answering(engine) == {"digits"}
        assert not engine.is_revoked("digits", scene.own.digest)
        assert engine.is_revoked("test", scene.own.digest)
    # Auditors are told the same.
    now = format_time(bureau.now)
    shown = live_pointers(opened(bureau, bureau.registry.audit_trail.live_at(now)), now, "")
    assert {item.model: item.revoked for item in shown} == {"digits": "", "test": now}
    # It is over for good under that model, and goes on under the other.
    with refused(Reason.VERSION_REVOKED):
        bureau.propose(scene.own, predecessor=1)
    bureau.propose(scene.theirs, predecessor=1)
    bureau.reopen()
    bureau.registry.verify()


def test_nobody_keeps_a_version_from_being_revoked_by_registering_its_bytes(
    bureau: Bureau,
) -> None:
    scene = Scene(bureau, "digits")
    bureau.revoke(scene.theirs)
    assert scene.answering() == {"test"}


@pytest.mark.parametrize("first", ["theirs", "own"])
def test_who_may_revoke_every_model_revokes_the_bytes(bureau: Bureau, first: str) -> None:
    scene = Scene(bureau, ALL)
    bureau.revoke(getattr(scene, first))
    assert scene.revoked() == (scene.own.digest,)
    assert scene.answering() == set()


def test_a_right_in_one_environment_is_none_over_every_model(bureau: Bureau) -> None:
    scene = Scene(bureau, ALL)
    (right,) = may_revoke(ALL)
    bureau.accept(rights=(replace(right, environments=("staging",)),))
    bureau.revoke(scene.own)
    assert scene.answering() == {"digits"}


def test_an_earlier_revocation_keeps_its_effect(bureau: Bureau) -> None:
    """What was revoked while one right was over all stays revoked under narrower rights."""
    scene = Scene(bureau, ALL)
    bureau.revoke(scene.own)
    bureau.accept(rights=may_revoke("test"))
    assert scene.answering() == set()
    assert scene.revoked() == (scene.own.digest,)
