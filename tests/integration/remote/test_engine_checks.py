"""An engine of its own process believes no gateway: each lie is refused there, with its reason."""

from dataclasses import replace
from datetime import timedelta

import pytest

from inference.engine import version_contents
from sealgate.reasons import Reason
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import PrivateKey
from sealgate.trust.statements import Freshness, Manifest, Pointer, PointerBundle, sign_statement
from tests.support.builders.models.version_files import clean_rows
from tests.support.fakes.registry import UncheckedRegistry
from tests.support.harness.engine import EngineHarness
from tests.support.harness.engine_outcomes import BETTER, FILES, MODEL, resolved
from tests.support.harness.gateway import refusal

PLACE = ("digits", "production")


def covering(registry: UncheckedRegistry, bundle: PointerBundle) -> Envelope:
    """A statement of freshness that names this pointer, by the key that signs such."""
    registry.bundles[PLACE] = bundle
    return registry.refresh()


def test_what_is_proved_is_loaded_and_answers(room: EngineHarness) -> None:
    made = room.publish(FILES)
    room.registry.promote(made)
    room.show()
    assert resolved(room.engine) == 1
    response = room.ask(made, clean_rows(MODEL, 3))
    assert [output.name for output in response.outputs] == ["logits", "sealgate_features"]


class TestPointers:
    def test_one_that_no_statement_names(self, room: EngineHarness) -> None:
        room.registry.promote(room.publish(FILES))
        old = room.load()
        room.registry.promote(room.publish(BETTER))
        assert refusal(room.show, pointer=old.pointer) is Reason.POINTER_STALE
        assert room.engine.live() == {}

    def test_one_that_a_stranger_signed(self, room: EngineHarness) -> None:
        bundle = room.registry.promote(room.publish(FILES))
        pointer = Pointer.decode(bundle.pointer.payload)
        forged = replace(bundle, pointer=sign_statement(pointer, PrivateKey.generate()))
        reason = refusal(room.show, pointer=forged, freshness=covering(room.registry, forged))
        assert reason is Reason.SIGNER_MISMATCH
        assert room.engine.live() == {}

    def test_one_without_its_approvals(self, room: EngineHarness) -> None:
        room.registry.promote(room.publish(FILES), approvers=("anna",))
        assert refusal(room.show) is Reason.APPROVALS_MISSING
        assert room.engine.live() == {}

    def test_one_whose_approvals_were_left_out(self, room: EngineHarness) -> None:
        bundle = room.registry.promote(room.publish(FILES))
        bare = replace(bundle, approvals=bundle.approvals[:1])
        assert refusal(room.show, pointer=bare) is Reason.POINTER_INVALID

    def test_one_lower_than_one_seen(self, room: EngineHarness) -> None:
        first = room.registry.promote(room.publish(FILES))
        room.registry.promote(room.publish(BETTER))
        room.show()
        covering(room.registry, first)
        assert refusal(room.show) is Reason.SEQUENCE_STALE
        assert resolved(room.engine) == 2

    def test_one_of_another_alias(self, room: EngineHarness) -> None:
        room.registry.promote(room.publish(FILES))
        load = room.load()
        room.registry.bundles["digits", "canary"] = load.pointer
        freshness = room.registry.refresh()
        reason = refusal(room.show, place=("digits", "canary"), freshness=freshness)
        assert reason is Reason.POINTER_INVALID


class TestStatements:
    def test_an_older_statement(self, room: EngineHarness) -> None:
        room.registry.promote(room.publish(FILES))
        room.show()
        before = room.registry.freshness
        room.registry.refresh()
        room.show()
        assert refusal(room.show, freshness=before) is Reason.POINTER_STALE

    def test_a_statement_by_a_stranger(self, room: EngineHarness) -> None:
        room.registry.promote(room.publish(FILES))
        statement = Freshness.decode(room.load().freshness.payload)
        forged = sign_statement(statement, PrivateKey.generate())
        assert refusal(room.show, freshness=forged) is Reason.THRESHOLD_NOT_MET

    def test_one_that_has_run_out(self, room: EngineHarness) -> None:
        room.registry.promote(room.publish(FILES))
        room.registry.now += timedelta(hours=2)
        assert refusal(room.show) is Reason.POINTER_STALE

    def test_another_registrys_policies(self, room: EngineHarness) -> None:
        room.registry.promote(room.publish(FILES))
        strange = tuple(UncheckedRegistry().policies)
        assert refusal(room.show, policies=strange) is Reason.THRESHOLD_NOT_MET
        assert refusal(room.show, policies=()) is Reason.POLICY_INVALID

    def test_an_older_chain_of_policies(self, room: EngineHarness) -> None:
        room.registry.promote(room.publish(FILES))
        room.registry.add_policy()
        room.registry.promote(room.publish(BETTER))
        room.show()
        older = tuple(room.registry.policies[:1])
        assert refusal(room.show, policies=older) is Reason.POLICY_ROLLED_BACK


class TestFiles:
    @pytest.mark.parametrize(
        "name", [version_contents.INT8, version_contents.RESPONSE, version_contents.DETECTOR]
    )
    def test_one_altered_in_the_store(self, room: EngineHarness, name: str) -> None:
        room.registry.promote(room.publish(FILES))
        path = room.path(FILES[name])
        path.chmod(0o600)
        path.write_bytes(FILES[name][:-1] + b"x")
        assert refusal(room.show) is Reason.VERSION_ALTERED
        assert room.engine.live() == {}

    def test_one_that_is_gone(self, room: EngineHarness) -> None:
        room.registry.promote(room.publish(FILES))
        room.path(FILES[version_contents.GOLDEN]).unlink()
        assert refusal(room.show) is Reason.VERSION_ALTERED

    def test_another_versions_manifest(self, room: EngineHarness) -> None:
        room.registry.promote(room.publish(FILES))
        assert refusal(room.show, manifest=Manifest.of(BETTER)) is Reason.VERSION_ALTERED

    def test_a_strangers_signature(self, room: EngineHarness) -> None:
        room.registry.promote(room.publish(FILES))
        other = UncheckedRegistry()
        made = other.publish(FILES)
        signature = other.signed_manifest(made.digest).signature
        assert refusal(room.show, signature=signature) is Reason.SIGNER_MISMATCH
