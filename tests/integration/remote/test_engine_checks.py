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


def test_what_is_proved_is_loaded_and_answers(harness: EngineHarness) -> None:
    made = harness.publish(FILES)
    harness.registry.promote(made)
    harness.show()
    assert resolved(harness.engine) == 1
    response = harness.ask(made, clean_rows(MODEL, 3))
    assert [output.name for output in response.outputs] == ["logits", "sealgate_features"]


class TestPointers:
    def test_one_that_no_statement_names(self, harness: EngineHarness) -> None:
        harness.registry.promote(harness.publish(FILES))
        old = harness.load()
        harness.registry.promote(harness.publish(BETTER))
        assert refusal(harness.show, pointer=old.pointer) is Reason.POINTER_STALE
        assert harness.engine.live() == {}

    def test_one_that_a_stranger_signed(self, harness: EngineHarness) -> None:
        bundle = harness.registry.promote(harness.publish(FILES))
        pointer = Pointer.decode(bundle.pointer.payload)
        forged = replace(bundle, pointer=sign_statement(pointer, PrivateKey.generate()))
        reason = refusal(harness.show, pointer=forged, freshness=covering(harness.registry, forged))
        assert reason is Reason.SIGNER_MISMATCH
        assert harness.engine.live() == {}

    def test_one_without_its_approvals(self, harness: EngineHarness) -> None:
        harness.registry.promote(harness.publish(FILES), approvers=("anna",))
        assert refusal(harness.show) is Reason.APPROVALS_MISSING
        assert harness.engine.live() == {}

    def test_one_whose_approvals_were_left_out(self, harness: EngineHarness) -> None:
        bundle = harness.registry.promote(harness.publish(FILES))
        bare = replace(bundle, approvals=bundle.approvals[:1])
        assert refusal(harness.show, pointer=bare) is Reason.POINTER_INVALID

    def test_one_lower_than_one_seen(self, harness: EngineHarness) -> None:
        first = harness.registry.promote(harness.publish(FILES))
        harness.registry.promote(harness.publish(BETTER))
        harness.show()
        covering(harness.registry, first)
        assert refusal(harness.show) is Reason.SEQUENCE_STALE
        assert resolved(harness.engine) == 2

    def test_one_of_another_alias(self, harness: EngineHarness) -> None:
        harness.registry.promote(harness.publish(FILES))
        load = harness.load()
        harness.registry.bundles["digits", "canary"] = load.pointer
        freshness = harness.registry.refresh()
        reason = refusal(harness.show, place=("digits", "canary"), freshness=freshness)
        assert reason is Reason.POINTER_INVALID


class TestStatements:
    def test_an_older_statement(self, harness: EngineHarness) -> None:
        harness.registry.promote(harness.publish(FILES))
        harness.show()
        before = harness.registry.freshness
        harness.registry.refresh()
        harness.show()
        assert refusal(harness.show, freshness=before) is Reason.POINTER_STALE

    def test_a_statement_by_a_stranger(self, harness: EngineHarness) -> None:
        harness.registry.promote(harness.publish(FILES))
        statement = Freshness.decode(harness.load().freshness.payload)
        forged = sign_statement(statement, PrivateKey.generate())
        assert refusal(harness.show, freshness=forged) is Reason.THRESHOLD_NOT_MET

    def test_one_that_has_run_out(self, harness: EngineHarness) -> None:
        harness.registry.promote(harness.publish(FILES))
        harness.registry.now += timedelta(hours=2)
        assert refusal(harness.show) is Reason.POINTER_STALE

    def test_another_registrys_policies(self, harness: EngineHarness) -> None:
        harness.registry.promote(harness.publish(FILES))
        strange = tuple(UncheckedRegistry().policies)
        assert refusal(harness.show, policies=strange) is Reason.THRESHOLD_NOT_MET
        assert refusal(harness.show, policies=()) is Reason.POLICY_INVALID

    def test_an_older_chain_of_policies(self, harness: EngineHarness) -> None:
        harness.registry.promote(harness.publish(FILES))
        harness.registry.add_policy()
        harness.registry.promote(harness.publish(BETTER))
        harness.show()
        older = tuple(harness.registry.policies[:1])
        assert refusal(harness.show, policies=older) is Reason.POLICY_ROLLED_BACK


class TestFiles:
    @pytest.mark.parametrize(
        "name", [version_contents.INT8, version_contents.RESPONSE, version_contents.DETECTOR]
    )
    def test_one_altered_in_the_store(self, harness: EngineHarness, name: str) -> None:
        harness.registry.promote(harness.publish(FILES))
        path = harness.path(FILES[name])
        path.chmod(0o600)
        path.write_bytes(FILES[name][:-1] + b"x")
        assert refusal(harness.show) is Reason.VERSION_ALTERED
        assert harness.engine.live() == {}

    def test_one_that_is_gone(self, harness: EngineHarness) -> None:
        harness.registry.promote(harness.publish(FILES))
        harness.path(FILES[version_contents.GOLDEN]).unlink()
        assert refusal(harness.show) is Reason.VERSION_ALTERED

    def test_another_versions_manifest(self, harness: EngineHarness) -> None:
        harness.registry.promote(harness.publish(FILES))
        assert refusal(harness.show, manifest=Manifest.of(BETTER)) is Reason.VERSION_ALTERED

    def test_a_strangers_signature(self, harness: EngineHarness) -> None:
        harness.registry.promote(harness.publish(FILES))
        other = UncheckedRegistry()
        made = other.publish(FILES)
        signature = other.signed_manifest(made.digest).signature
        assert refusal(harness.show, signature=signature) is Reason.SIGNER_MISMATCH
