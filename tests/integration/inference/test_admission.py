"""Admission against a stolen database: its thief can only withhold files and signatures.

Classes 5, 6 and 8 of the flaws that other registries had: external data, signatures that do not
cover what is loaded, and pickle.
"""

import io
import pickle
import zipfile
from collections.abc import Callable

import pytest

from inference.engine import version_contents
from inference.engine.engine import Engine, UpdateResult
from inference.engine.version_verifier import SignedManifest
from sealgate.reasons import Reason
from sealgate.trust.canonical import sha256
from sealgate.trust.keys import ECDSA_P256, PrivateKey
from sealgate.trust.statements import Manifest, oms
from tests.support.builders.models.onnx_models import with_external_data
from tests.support.fakes.registry import UncheckedRegistry
from tests.support.harness.engine_outcomes import BETTER, FILES, PLACE, only, promoted, resolved


class TestFiles:
    @pytest.mark.parametrize("path", sorted(version_contents.FILES))
    def test_one_altered_bit(self, registry: UncheckedRegistry, engine: Engine, path: str) -> None:
        promoted(registry)
        data = bytearray(FILES[path])
        data[len(data) // 2] ^= 1
        registry.files[sha256(FILES[path])] = bytes(data)
        assert only(engine.update(registry, registry)) is Reason.VERSION_ALTERED
        assert resolved(engine) is Reason.VERSION_NOT_LIVE

    def test_two_files_exchanged(self, registry: UncheckedRegistry, engine: Engine) -> None:
        promoted(registry)
        one, two = sha256(FILES[version_contents.INT8]), sha256(FILES[version_contents.FP32])
        registry.files[one], registry.files[two] = registry.files[two], registry.files[one]
        assert only(engine.update(registry, registry)) is Reason.VERSION_ALTERED

    def test_a_file_that_is_gone(self, registry: UncheckedRegistry, engine: Engine) -> None:
        promoted(registry)
        del registry.files[sha256(FILES[version_contents.DETECTOR])]
        assert only(engine.update(registry, registry)) is Reason.FILE_MISSING

    @pytest.mark.parametrize("path", sorted(version_contents.FILES))
    def test_a_version_without_a_file(
        self, registry: UncheckedRegistry, engine: Engine, path: str
    ) -> None:
        promoted(registry, {name: data for name, data in FILES.items() if name != path})
        screens = path == version_contents.RESPONSE
        missing = Reason.SCREENING_REQUIRED if screens else Reason.FILE_MISSING
        assert only(engine.update(registry, registry)) is missing

    def test_a_version_with_a_file_too_many(
        self, registry: UncheckedRegistry, engine: Engine
    ) -> None:
        promoted(registry, FILES | {"weights.bin": b"more"})
        assert only(engine.update(registry, registry)) is Reason.FILE_SURPLUS


def zipped(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model.onnx", data)
    return buffer.getvalue()


class TestFormats:
    """All of these were signed and approved; they are refused all the same."""

    @pytest.mark.parametrize(
        "path", [version_contents.INT8, version_contents.FP32, version_contents.RESPONSE]
    )
    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda data: pickle.dumps({"weights": list(data[:9])}), Reason.FORMAT_REFUSED),
            (zipped, Reason.FORMAT_REFUSED),
            (with_external_data, Reason.EXTERNAL_DATA),
        ],
        ids=["pickle", "zip", "external"],
    )
    def test_only_plain_onnx_is_opened(
        self,
        registry: UncheckedRegistry,
        engine: Engine,
        path: str,
        change: Callable[[bytes], bytes],
        reason: Reason,
    ) -> None:
        promoted(registry, FILES | {path: change(FILES[path])})
        assert only(engine.update(registry, registry)) is reason

    def test_wrong_golden_answers(self, registry: UncheckedRegistry, engine: Engine) -> None:
        promoted(registry, FILES | {version_contents.GOLDEN: BETTER[version_contents.GOLDEN]})
        assert only(engine.update(registry, registry)) is Reason.GOLDEN_MISMATCH

    def test_a_response_graph_of_another_model(
        self, registry: UncheckedRegistry, engine: Engine
    ) -> None:
        promoted(registry, FILES | {version_contents.RESPONSE: BETTER[version_contents.RESPONSE]})
        assert only(engine.update(registry, registry)) is Reason.GRAPH_MISMATCH


class TestSignatures:
    def test_an_edited_manifest(self, registry: UncheckedRegistry, engine: Engine) -> None:
        made = promoted(registry)
        other = Manifest.of(BETTER)
        registry.files.update({sha256(data): data for data in BETTER.values()})
        signature = oms.sign(other, registry.oms_keys["paula"])
        registry.signed[made.digest] = SignedManifest(other.encode(), signature)
        assert only(engine.update(registry, registry)) is Reason.VERSION_ALTERED

    def test_a_signature_over_another_version(
        self, registry: UncheckedRegistry, engine: Engine
    ) -> None:
        made, other = promoted(registry), registry.publish(BETTER)
        manifest = registry.signed[made.digest].manifest
        registry.signed[made.digest] = SignedManifest(
            manifest, registry.signed[other.digest].signature
        )
        assert only(engine.update(registry, registry)) is Reason.DIGEST_MISMATCH

    def test_a_stranger_as_publisher(self, registry: UncheckedRegistry, engine: Engine) -> None:
        registry.oms_keys["paula"] = PrivateKey.generate(ECDSA_P256)
        promoted(registry)
        assert only(engine.update(registry, registry)) is Reason.SIGNER_MISMATCH

    def test_too_few_approvals(self, registry: UncheckedRegistry, engine: Engine) -> None:
        registry.promote(registry.publish(FILES), approvers=("anna",))
        assert only(engine.update(registry, registry)) is Reason.APPROVALS_MISSING

    def test_a_pointer_under_another_alias(
        self, registry: UncheckedRegistry, engine: Engine
    ) -> None:
        canary = registry.promote(registry.publish(FILES), alias="canary", approvers=("anna",))
        registry.bundles = {PLACE: canary}
        registry.refresh()
        assert only(engine.update(registry, registry)) is Reason.POINTER_INVALID

    def test_a_withdrawn_key_stops_what_it_signed(
        self, registry: UncheckedRegistry, engine: Engine
    ) -> None:
        promoted(registry)
        assert engine.update(registry, registry).loaded == (PLACE,)
        registry.add_policy(without=frozenset({"paula"}))
        assert only(engine.update(registry, registry)) is Reason.SIGNER_MISMATCH
        assert resolved(engine) is Reason.VERSION_NOT_LIVE

    def test_a_withdrawn_approver_stops_what_they_approved(
        self, registry: UncheckedRegistry, engine: Engine
    ) -> None:
        promoted(registry)
        engine.update(registry, registry)
        registry.add_policy(without=frozenset({"abel"}))
        assert only(engine.update(registry, registry)) is Reason.KEY_WITHDRAWN
        assert resolved(engine) is Reason.VERSION_NOT_LIVE

    def test_an_older_pointer_ends_with_its_approver_where_a_newer_one_is_refused(
        self, registry: UncheckedRegistry, engine: Engine
    ) -> None:
        promoted(registry)
        engine.update(registry, registry)
        registry.promote(registry.publish(BETTER))
        # The engine sees neither that promotion nor the policy until both are there.
        registry.add_policy(without=frozenset({"abel"}))
        assert only(engine.update(registry, registry)) is Reason.KEY_WITHDRAWN
        assert resolved(engine) is Reason.VERSION_NOT_LIVE

    def test_an_older_pointer_goes_on_where_a_newer_policy_does_not_withdraw_it(
        self, registry: UncheckedRegistry, engine: Engine
    ) -> None:
        promoted(registry)
        engine.update(registry, registry)
        registry.promote(registry.publish(BETTER), approvers=("anna",))
        policy = registry.add_policy()
        assert only(engine.update(registry, registry)) is Reason.APPROVALS_MISSING
        assert engine.resolve("digits").policy == policy.digest
        assert resolved(engine) == 1

    @pytest.mark.parametrize("withdrawn", [frozenset({"abel"}), frozenset()])
    def test_a_pointer_that_a_thief_keeps_shown_is_held_against_a_newer_policy(
        self, registry: UncheckedRegistry, engine: Engine, withdrawn: frozenset[str]
    ) -> None:
        promoted(registry)
        engine.update(registry, registry)
        first = registry.bundles[PLACE]
        registry.promote(registry.publish(BETTER))
        policy = registry.add_policy(without=withdrawn)
        # The statement names the second pointer, the database the first again.
        registry.bundles[PLACE] = first
        assert only(engine.update(registry, registry)) is Reason.POINTER_STALE
        assert resolved(engine) == (Reason.VERSION_NOT_LIVE if withdrawn else 1)
        if not withdrawn:
            assert engine.resolve("digits").policy == policy.digest

    def test_a_new_policy_that_withdraws_nobody_changes_nothing(
        self, registry: UncheckedRegistry, engine: Engine
    ) -> None:
        promoted(registry)
        engine.update(registry, registry)
        policy = registry.add_policy()
        assert engine.update(registry, registry) == UpdateResult()
        assert engine.policy == policy
        assert engine.resolve("digits").policy == policy.digest
