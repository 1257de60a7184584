"""What a thief of the database can do to an engine: nothing but withhold.

Classes 5, 6, 8 and 13 of the flaws that other registries had: external data, signatures that do
not cover what is loaded, pickle, and an older approved state replayed.
"""

import io
import pickle
import zipfile
from collections.abc import Callable
from datetime import timedelta

import pytest

from inference import version
from inference.admission import SignedManifest
from inference.engine import Engine, Update
from sealgate.reasons import Reason, Refusal
from sealgate.trust import dsse, oms
from sealgate.trust.digest import sha256
from sealgate.trust.keys import ECDSA_P256, PrivateKey
from sealgate.trust.manifest import Manifest
from sealgate.trust.policy import PAYLOAD_TYPE
from tests.support.onnx_models import Perceptron, with_external_data
from tests.support.paper_registry import FRESH, GRACE, PaperRegistry, PaperVersion
from tests.support.version_files import VersionFiles

MODEL = Perceptron.random()
FILES = VersionFiles.of(MODEL).encode()
BETTER = VersionFiles.of(Perceptron.random(seed=1)).encode()
PLACE = ("digits", "production")
MINUTE = timedelta(minutes=1)

Start = Callable[[], Engine]


def only(update: Update) -> Reason:
    """The reason of an update that came to one rejection and nothing else."""
    assert update.refused is None
    assert update.loaded == ()
    ((model, alias, reason),) = [(r.model, r.alias, r.reason) for r in update.rejected]
    assert (model, alias) == PLACE
    return reason


def whole(update: Update) -> Reason:
    """The reason of an update that was refused as a whole."""
    assert update.refused is not None
    assert (update.loaded, update.rejected) == ((), ())
    return update.refused.reason


def resolved(engine: Engine, number: int | None = None) -> Reason | int:
    try:
        return engine.resolve("digits", number).version
    except Refusal as refusal:
        return refusal.reason


def promoted(registry: PaperRegistry, files: dict[str, bytes] = FILES) -> PaperVersion:
    made = registry.publish(files)
    registry.promote(made)
    return made


class TestFiles:
    @pytest.mark.parametrize("path", sorted(version.FILES))
    def test_one_altered_bit(self, registry: PaperRegistry, engine: Engine, path: str) -> None:
        promoted(registry)
        data = bytearray(FILES[path])
        data[len(data) // 2] ^= 1
        registry.files[sha256(FILES[path])] = bytes(data)
        assert only(engine.update(registry, registry)) is Reason.VERSION_ALTERED
        assert resolved(engine) is Reason.VERSION_NOT_LIVE

    def test_two_files_exchanged(self, registry: PaperRegistry, engine: Engine) -> None:
        promoted(registry)
        one, two = sha256(FILES[version.INT8]), sha256(FILES[version.FP32])
        registry.files[one], registry.files[two] = registry.files[two], registry.files[one]
        assert only(engine.update(registry, registry)) is Reason.VERSION_ALTERED

    def test_a_file_that_is_gone(self, registry: PaperRegistry, engine: Engine) -> None:
        promoted(registry)
        del registry.files[sha256(FILES[version.DETECTOR])]
        assert only(engine.update(registry, registry)) is Reason.FILE_MISSING

    @pytest.mark.parametrize("path", sorted(version.FILES))
    def test_a_version_without_a_file(
        self, registry: PaperRegistry, engine: Engine, path: str
    ) -> None:
        promoted(registry, {name: data for name, data in FILES.items() if name != path})
        assert only(engine.update(registry, registry)) is Reason.FILE_MISSING

    def test_a_version_with_a_file_too_many(self, registry: PaperRegistry, engine: Engine) -> None:
        promoted(registry, FILES | {"weights.bin": b"more"})
        assert only(engine.update(registry, registry)) is Reason.FILE_SURPLUS


def zipped(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model.onnx", data)
    return buffer.getvalue()


class TestFormats:
    """All of these were signed and approved; they are refused all the same."""

    @pytest.mark.parametrize("path", [version.INT8, version.FP32, version.RESPONSE])
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
        registry: PaperRegistry,
        engine: Engine,
        path: str,
        change: Callable[[bytes], bytes],
        reason: Reason,
    ) -> None:
        promoted(registry, FILES | {path: change(FILES[path])})
        assert only(engine.update(registry, registry)) is reason

    def test_wrong_golden_answers(self, registry: PaperRegistry, engine: Engine) -> None:
        promoted(registry, FILES | {version.GOLDEN: BETTER[version.GOLDEN]})
        assert only(engine.update(registry, registry)) is Reason.GOLDEN_MISMATCH

    def test_a_response_graph_of_another_model(
        self, registry: PaperRegistry, engine: Engine
    ) -> None:
        promoted(registry, FILES | {version.RESPONSE: BETTER[version.RESPONSE]})
        assert only(engine.update(registry, registry)) is Reason.GRAPH_MISMATCH


class TestSignatures:
    def test_an_edited_manifest(self, registry: PaperRegistry, engine: Engine) -> None:
        made = promoted(registry)
        other = Manifest.of(BETTER)
        registry.files.update({sha256(data): data for data in BETTER.values()})
        signature = oms.sign(other, registry.oms_keys["paula"])
        registry.signed[made.digest] = SignedManifest(other.encode(), signature)
        assert only(engine.update(registry, registry)) is Reason.VERSION_ALTERED

    def test_a_signature_over_another_version(
        self, registry: PaperRegistry, engine: Engine
    ) -> None:
        made, other = promoted(registry), registry.publish(BETTER)
        manifest = registry.signed[made.digest].manifest
        registry.signed[made.digest] = SignedManifest(
            manifest, registry.signed[other.digest].signature
        )
        assert only(engine.update(registry, registry)) is Reason.DIGEST_MISMATCH

    def test_a_stranger_as_publisher(self, registry: PaperRegistry, engine: Engine) -> None:
        registry.oms_keys["paula"] = PrivateKey.generate(ECDSA_P256)
        promoted(registry)
        assert only(engine.update(registry, registry)) is Reason.SIGNER_MISMATCH

    def test_too_few_approvals(self, registry: PaperRegistry, engine: Engine) -> None:
        registry.promote(registry.publish(FILES), approvers=("anna",))
        assert only(engine.update(registry, registry)) is Reason.APPROVALS_MISSING

    def test_a_pointer_under_another_alias(self, registry: PaperRegistry, engine: Engine) -> None:
        canary = registry.promote(registry.publish(FILES), alias="canary", approvers=("anna",))
        registry.bundles = {PLACE: canary}
        registry.refresh()
        assert only(engine.update(registry, registry)) is Reason.POINTER_INVALID

    def test_a_withdrawn_key_stops_what_it_signed(
        self, registry: PaperRegistry, engine: Engine
    ) -> None:
        promoted(registry)
        assert engine.update(registry, registry).loaded == (PLACE,)
        registry.add_policy(without=frozenset({"paula"}))
        assert only(engine.update(registry, registry)) is Reason.SIGNER_MISMATCH
        assert resolved(engine) is Reason.VERSION_NOT_LIVE

    def test_a_withdrawn_approver_stops_what_they_approved(
        self, registry: PaperRegistry, engine: Engine
    ) -> None:
        promoted(registry)
        engine.update(registry, registry)
        registry.add_policy(without=frozenset({"abel"}))
        assert only(engine.update(registry, registry)) is Reason.KEY_WITHDRAWN
        assert resolved(engine) is Reason.VERSION_NOT_LIVE

    def test_a_new_policy_that_withdraws_nobody_changes_nothing(
        self, registry: PaperRegistry, engine: Engine
    ) -> None:
        promoted(registry)
        engine.update(registry, registry)
        policy = registry.add_policy()
        assert engine.update(registry, registry) == Update()
        assert engine.policy == policy
        assert engine.resolve("digits").policy == policy.digest


class TestReplay:
    def test_an_older_pointer_with_its_own_statement(
        self, registry: PaperRegistry, start: Start
    ) -> None:
        promoted(registry)
        old = (dict(registry.bundles), registry.freshness)
        promoted(registry, BETTER)
        engine = start()
        assert engine.update(registry, registry).loaded == (PLACE,)
        registry.bundles, registry.freshness = old
        for replayed in (engine, start()):
            assert whole(replayed.update(registry, registry)) is Reason.POINTER_STALE
        assert resolved(engine) == 2

    def test_an_older_pointer_with_a_newer_statement(
        self, registry: PaperRegistry, start: Start
    ) -> None:
        """Even whoever holds the freshness key cannot bring an older pointer back."""
        promoted(registry)
        old = dict(registry.bundles)
        promoted(registry, BETTER)
        engine = start()
        engine.update(registry, registry)
        registry.bundles = old
        registry.refresh()
        for replayed in (engine, start()):
            assert only(replayed.update(registry, registry)) is Reason.SEQUENCE_STALE
        assert resolved(engine) == 2

    def test_an_older_pointer_under_the_newest_statement(
        self, registry: PaperRegistry, engine: Engine
    ) -> None:
        promoted(registry)
        old = dict(registry.bundles)
        promoted(registry, BETTER)
        registry.bundles = old
        assert only(engine.update(registry, registry)) is Reason.POINTER_STALE

    def test_a_withheld_pointer(self, registry: PaperRegistry, engine: Engine) -> None:
        promoted(registry)
        engine.update(registry, registry)
        promoted(registry, BETTER)
        registry.bundles = {}
        assert only(engine.update(registry, registry)) is Reason.POINTER_STALE
        assert resolved(engine) == 1
        registry.now += FRESH + GRACE
        assert resolved(engine) is Reason.POINTER_STALE

    def test_an_older_policy(self, registry: PaperRegistry, start: Start) -> None:
        promoted(registry)
        registry.add_policy()
        engine = start()
        engine.update(registry, registry)
        del registry.policies[1:]
        for replayed in (engine, start()):
            assert whole(replayed.update(registry, registry)) is Reason.POLICY_ROLLED_BACK
        assert resolved(engine) == 1

    def test_another_policy_of_the_same_number(
        self, registry: PaperRegistry, engine: Engine
    ) -> None:
        promoted(registry)
        engine.update(registry, registry)
        registry.policies.clear()
        registry.add_policy(days=31)
        assert whole(engine.update(registry, registry)) is Reason.POLICY_ROLLED_BACK

    def test_another_chain_that_is_longer(self, registry: PaperRegistry, engine: Engine) -> None:
        promoted(registry)
        engine.update(registry, registry)
        registry.policies.clear()
        registry.add_policy(days=31)
        registry.add_policy()
        assert whole(engine.update(registry, registry)) is Reason.POLICY_ROLLED_BACK

    def test_a_policy_of_other_root_keys(self, registry: PaperRegistry, engine: Engine) -> None:
        promoted(registry)
        forged = dsse.sign(PAYLOAD_TYPE, registry.policies[0].payload, PrivateKey.generate())
        registry.policies[0] = forged
        assert whole(engine.update(registry, registry)) is Reason.THRESHOLD_NOT_MET
        assert engine.policy is None

    def test_no_statement(self, registry: PaperRegistry, engine: Engine) -> None:
        promoted(registry)
        registry.freshness = None
        assert whole(engine.update(registry, registry)) is Reason.POINTER_STALE
        assert resolved(engine) is Reason.MODEL_UNKNOWN


class TestTime:
    def test_a_stale_statement_loads_nothing(self, registry: PaperRegistry, engine: Engine) -> None:
        promoted(registry)
        registry.now += FRESH
        assert whole(engine.update(registry, registry)) is Reason.POINTER_STALE

    def test_what_is_live_goes_on_until_the_grace_ends(
        self, registry: PaperRegistry, engine: Engine
    ) -> None:
        promoted(registry)
        engine.update(registry, registry)
        registry.now += FRESH + GRACE - MINUTE
        assert whole(engine.update(registry, registry)) is Reason.POINTER_STALE
        assert resolved(engine) == 1
        registry.now += MINUTE
        assert resolved(engine) is Reason.POINTER_STALE
        assert resolved(engine, 1) is Reason.POINTER_STALE
        registry.refresh()
        assert engine.update(registry, registry) == Update()
        assert resolved(engine) == 1

    def test_what_fails_to_load_does_not_extend_the_old(
        self, registry: PaperRegistry, engine: Engine
    ) -> None:
        promoted(registry)
        engine.update(registry, registry)
        registry.now += FRESH - MINUTE
        promoted(registry, BETTER | {version.GOLDEN: FILES[version.GOLDEN]})
        assert only(engine.update(registry, registry)) is Reason.GOLDEN_MISMATCH
        assert resolved(engine) == 1
        registry.now += GRACE + MINUTE
        registry.refresh()
        assert only(engine.update(registry, registry)) is Reason.GOLDEN_MISMATCH
        assert resolved(engine) is Reason.POINTER_STALE

    def test_a_clock_put_back_revives_nothing(self, registry: PaperRegistry, start: Start) -> None:
        promoted(registry)
        early = registry.freshness
        registry.now += timedelta(days=2)
        registry.refresh()
        engine = start()
        engine.update(registry, registry)
        registry.now -= timedelta(days=2)
        registry.freshness = early
        assert whole(start().update(registry, registry)) is Reason.POINTER_STALE

    def test_an_expired_policy_stops_everything(
        self, registry: PaperRegistry, engine: Engine
    ) -> None:
        promoted(registry)
        engine.update(registry, registry)
        registry.now += timedelta(days=30) - MINUTE
        registry.refresh()
        assert engine.update(registry, registry) == Update()
        assert resolved(engine) == 1
        registry.now += MINUTE
        assert whole(engine.update(registry, registry)) is Reason.POLICY_EXPIRED
        assert resolved(engine) is Reason.POLICY_EXPIRED


class TestRevocation:
    def test_a_revoked_version_stops_at_once_and_for_good(
        self, registry: PaperRegistry, start: Start
    ) -> None:
        made = promoted(registry)
        engine = start()
        engine.update(registry, registry)
        registry.revoke(made)
        assert only(engine.update(registry, registry)) is Reason.VERSION_REVOKED
        for number in (None, 1):
            assert resolved(engine, number) is Reason.VERSION_REVOKED
        # A newer statement that leaves it out, by whoever holds that key, changes nothing.
        registry.revoked.clear()
        registry.refresh()
        for again in (engine, start()):
            assert only(again.update(registry, registry)) is Reason.VERSION_REVOKED
            assert resolved(again, 1) is Reason.VERSION_REVOKED

    def test_a_revoked_version_is_not_returned_to(
        self, registry: PaperRegistry, engine: Engine
    ) -> None:
        first = registry.publish(FILES)
        target = registry.promote(first)
        engine.update(registry, registry)
        promoted(registry, BETTER)
        engine.update(registry, registry)
        registry.revoke(first)
        assert engine.update(registry, registry) == Update()
        assert resolved(engine) == 2
        registry.roll_back(target)
        assert only(engine.update(registry, registry)) is Reason.VERSION_REVOKED
        assert resolved(engine) is Reason.VERSION_REVOKED

    def test_another_version_may_take_its_place(
        self, registry: PaperRegistry, engine: Engine
    ) -> None:
        registry.revoke(promoted(registry))
        engine.update(registry, registry)
        promoted(registry, BETTER)
        assert engine.update(registry, registry).loaded == (PLACE,)
        assert resolved(engine) == 2
        assert resolved(engine, 1) is Reason.VERSION_NOT_LIVE
