"""The right to revoke one model revokes no other, though both hold the same bytes."""

from dataclasses import replace

import pytest

from inference.engine.engine import Engine
from registry.state.records import VersionRecord
from sealgate.audit.entries import live_pointers
from sealgate.reasons import Reason
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import WILDCARD, Right
from sealgate.trust.statements import Freshness, oms
from sealgate.trust.statements.covering import revoked_model
from sealgate.trust.times import format_time
from tests.support.builders.documents.excerpts import opened
from tests.support.builders.documents.people import p256_key, refused
from tests.support.harness.engine_outcomes import FILES
from tests.support.harness.registry import RegistryHarness
from tests.support.oracles.intruder import engine_of, follow, publish


def may_revoke(*models: str) -> tuple[Right, ...]:
    return (Right((), ("admin",), ("revoke",), models, (WILDCARD,)),)


class Scene:
    """`digits` and `test` answer with the same bytes in production; an engine follows."""

    def __init__(self, harness: RegistryHarness, *models: str) -> None:
        """The admin may revoke `models`."""
        self.harness = harness
        self.theirs = publish(harness, FILES)
        harness.registry.models.create("paula", "test")
        self.own = self._publish_again()
        assert self.own.digest == self.theirs.digest
        harness.release(self.theirs)
        harness.release(self.own)
        harness.accept(rights=may_revoke(*models))
        self.engine = engine_of(harness)
        follow(self.engine, harness)

    def _publish_again(self) -> VersionRecord:
        harness = self.harness
        manifest = harness.upload(FILES, "test")
        evidence = [harness.evidence(manifest, created=format_time(harness.now))]
        return harness.registry.versions.register(
            "paula",
            "test",
            manifest.encode(),
            oms.sign(manifest, p256_key("paula")),
            evidence,
            harness.commitment("test"),
        )

    def revoked(self) -> tuple[str, ...]:
        envelope = Envelope.decode(self.harness.registry.snapshot().freshness)
        return Freshness.decode(envelope.payload).revoked

    def answering(self, engine: Engine | None = None) -> set[str]:
        """The models that answer, by this engine or one with its memory that starts anew."""
        engine = engine or self.engine
        follow(engine, self.harness)
        return {model for model, _ in engine.live()}


def test_who_may_revoke_one_model_revokes_no_other(harness: RegistryHarness) -> None:
    scene = Scene(harness, "test")
    assert scene.answering() == {"digits", "test"}
    harness.revoke(scene.own)
    assert scene.revoked() == (revoked_model("test", scene.own.digest),)
    for engine in (scene.engine, engine_of(harness)):
        assert scene.answering(engine) == {"digits"}
        assert not engine.is_revoked("digits", scene.own.digest)
        assert engine.is_revoked("test", scene.own.digest)
    # Auditors are told the same.
    now = format_time(harness.now)
    shown = live_pointers(opened(harness, harness.registry.audit_trail.live_at(now)), now, "")
    assert {item.model: item.revoked for item in shown} == {"digits": "", "test": now}
    # It is over for good under that model, and goes on under the other.
    with refused(Reason.VERSION_REVOKED):
        harness.propose(scene.own, predecessor=1)
    harness.propose(scene.theirs, predecessor=1)
    harness.reopen()
    harness.registry.verify()


def test_nobody_keeps_a_version_from_being_revoked_by_registering_its_bytes(
    harness: RegistryHarness,
) -> None:
    scene = Scene(harness, "digits")
    harness.revoke(scene.theirs)
    assert scene.answering() == {"test"}


@pytest.mark.parametrize("first", ["theirs", "own"])
def test_who_may_revoke_every_model_revokes_the_bytes(harness: RegistryHarness, first: str) -> None:
    scene = Scene(harness, WILDCARD)
    harness.revoke(getattr(scene, first))
    assert scene.revoked() == (scene.own.digest,)
    assert scene.answering() == set()


def test_a_right_in_one_environment_is_none_over_every_model(harness: RegistryHarness) -> None:
    scene = Scene(harness, WILDCARD)
    (right,) = may_revoke(WILDCARD)
    harness.accept(rights=(replace(right, environments=("staging",)),))
    harness.revoke(scene.own)
    assert scene.answering() == {"digits"}


def test_an_earlier_revocation_keeps_its_effect(harness: RegistryHarness) -> None:
    """A revocation under a right over all models stays in force under narrower rights."""
    scene = Scene(harness, WILDCARD)
    harness.revoke(scene.own)
    harness.accept(rights=may_revoke("test"))
    assert scene.answering() == set()
    assert scene.revoked() == (scene.own.digest,)
