"""Models, watermark commitments, uploads and versions."""

from collections.abc import Sequence

import numpy as np
import pytest
from safetensors.numpy import save

from publishing.watermark.file_marking import with_notes
from registry.formats.format_check import PARENT
from registry.models.versions import Upload
from registry.state.records import VersionRecord
from sealgate.reasons import Reason
from sealgate.trust.canonical import sha256
from sealgate.trust.statements import Manifest, oms
from tests.support.builders.documents.people import at, key, p256_key, refused
from tests.support.harness.registry import RegistryHarness, version_files

NOTHING = "sha256:" + "0" * 64


class TestModel:
    def test_is_read_back(self, harness: RegistryHarness) -> None:
        assert [model.model for model in harness.registry.models.list().records] == ["digits"]
        model = harness.registry.models.get("digits")
        assert (model.creator, model.time, model.latest_version) == ("paula", at(), 0)
        harness.publish()
        assert harness.registry.models.get("digits").latest_version == 1

    def test_twice(self, harness: RegistryHarness) -> None:
        with refused(Reason.MODEL_EXISTS):
            harness.registry.models.create("peter", "digits")

    @pytest.mark.parametrize("name", ["", "Digits", "../x", "a/b", "a" * 64, "a\n"])
    def test_of_another_form(self, harness: RegistryHarness, name: str) -> None:
        with refused(Reason.NAME_MALFORMED):
            harness.registry.models.create("paula", name)

    def test_unknown(self, harness: RegistryHarness) -> None:
        with refused(Reason.MODEL_UNKNOWN):
            harness.registry.models.get("letters")

    def test_without_a_policy(self, empty_harness: RegistryHarness) -> None:
        with refused(Reason.POLICY_INVALID):
            empty_harness.registry.models.create("paula", "digits")


class TestCommitment:
    def test_is_an_entry(self, harness: RegistryHarness) -> None:
        entry = harness.registry.models.commit_watermark("paula", "digits", sha256(b"1"))
        assert sha256(b"1").encode() in harness.registry.log.entry(entry)

    def test_again_is_the_same(self, harness: RegistryHarness) -> None:
        entry = harness.registry.models.commit_watermark("paula", "digits", sha256(b"1"))
        assert harness.registry.models.commit_watermark("paula", "digits", sha256(b"1")) == entry
        assert harness.registry.log.size() == entry + 1

    def test_of_somebody_else(self, harness: RegistryHarness) -> None:
        harness.registry.models.create("paula", "letters")
        harness.registry.models.commit_watermark("paula", "digits", sha256(b"1"))
        with refused(Reason.COMMITMENT_EXISTS):
            harness.registry.models.commit_watermark("peter", "digits", sha256(b"1"))
        with refused(Reason.COMMITMENT_EXISTS):
            harness.registry.models.commit_watermark("paula", "letters", sha256(b"1"))

    def test_that_is_no_digest(self, harness: RegistryHarness) -> None:
        with refused(Reason.DOCUMENT_MALFORMED):
            harness.registry.models.commit_watermark("paula", "digits", "1")

    def test_for_no_model(self, harness: RegistryHarness) -> None:
        with refused(Reason.MODEL_UNKNOWN):
            harness.registry.models.commit_watermark("paula", "letters", sha256(b"1"))


class TestUpload:
    def test_of_a_file_not_named(self, harness: RegistryHarness) -> None:
        upload = self.start(harness)
        with refused(Reason.FILE_SURPLUS):
            upload.receive("other.json", [b"{}"])

    def test_of_a_file_twice(self, harness: RegistryHarness) -> None:
        upload = self.start(harness)
        upload.receive("model.json", [version_files()["model.json"]])
        with refused(Reason.FILE_DUPLICATE):
            upload.receive("model.json", [version_files()["model.json"]])

    def test_without_a_file(self, harness: RegistryHarness) -> None:
        upload = self.start(harness)
        upload.receive("model.json", [version_files()["model.json"]])
        with refused(Reason.FILE_MISSING):
            upload.finish()

    def test_of_too_much(self, harness: RegistryHarness) -> None:
        with refused(Reason.FILE_TOO_LARGE):
            self.start(harness).receive("model.json", [version_files()["model.json"], b"!"])

    def test_of_other_bytes(self, harness: RegistryHarness) -> None:
        with refused(Reason.DIGEST_MISMATCH):
            self.start(harness).receive("model.json", [b"{}"])

    def test_of_a_name_that_is_not_accepted(self, harness: RegistryHarness) -> None:
        manifest = Manifest.of({"model.pkl": b""})
        with refused(Reason.FORMAT_REFUSED):
            harness.registry.versions.start_upload("paula", "digits", manifest.encode())

    def test_for_no_model(self, harness: RegistryHarness) -> None:
        with refused(Reason.MODEL_UNKNOWN):
            harness.registry.versions.start_upload(
                "paula", "letters", Manifest.of({"a.json": b""}).encode()
            )

    def test_signed_by_somebody_else(self, harness: RegistryHarness) -> None:
        manifest = Manifest.of(version_files())
        signature = oms.sign(manifest, p256_key("peter"))
        with refused(Reason.SIGNER_MISMATCH):
            harness.registry.versions.start_upload("paula", "digits", manifest.encode(), signature)

    def test_of_what_is_registered(self, harness: RegistryHarness) -> None:
        version = harness.publish()
        with refused(Reason.VERSION_EXISTS):
            harness.registry.versions.start_upload("paula", "digits", version.manifest)

    def start(self, harness: RegistryHarness) -> Upload:
        manifest = Manifest.of(version_files())
        return harness.registry.versions.start_upload("paula", "digits", manifest.encode())


class TestVersion:
    def test_is_read_back(self, harness: RegistryHarness) -> None:
        first, second = harness.publish("one"), harness.publish("two")
        assert (first.version, second.version) == (1, 2)
        assert first.publisher == "paula"
        assert first.digest == Manifest.decode(first.manifest).digest
        assert first.watermark_entry < first.entry
        assert first.revocation_reason == ""
        assert harness.registry.versions.get("digits", 1) == first
        assert harness.registry.versions.list("digits").records == (first, second)

    def test_its_files_are_read_back(self, harness: RegistryHarness) -> None:
        harness.publish("one")
        for path, data in version_files("one").items():
            assert harness.registry.versions.read_file("digits", 1, path) == data
        with refused(Reason.FILE_SURPLUS):
            harness.registry.versions.read_file("digits", 1, "../registry.db")

    def test_unknown(self, harness: RegistryHarness) -> None:
        with refused(Reason.VERSION_UNKNOWN):
            harness.registry.versions.get("digits", 1)
        with refused(Reason.MODEL_UNKNOWN):
            harness.registry.versions.get("letters", 1)
        with refused(Reason.MODEL_UNKNOWN):
            harness.registry.versions.list("letters")

    def test_of_the_same_bytes(self, harness: RegistryHarness) -> None:
        version = harness.publish()
        with refused(Reason.VERSION_EXISTS):
            self.register(harness, Manifest.decode(version.manifest))

    def test_of_the_same_bytes_for_another_model(self, harness: RegistryHarness) -> None:
        harness.registry.models.create("paula", "letters")
        assert harness.publish(model="letters").digest == harness.publish().digest

    def test_of_files_that_were_not_sent(self, harness: RegistryHarness) -> None:
        with refused(Reason.FILE_MISSING):
            self.register(harness, Manifest.of(version_files()))

    def test_signed_by_somebody_else(self, harness: RegistryHarness) -> None:
        manifest = harness.upload(version_files())
        with refused(Reason.SIGNER_MISMATCH):
            self.register(harness, manifest, signature=oms.sign(manifest, p256_key("peter")))

    @pytest.mark.parametrize("flaw", ["signature", "evidence", "model", "commitment"])
    def test_no_file_is_read_before_all_else_is_checked(
        self, harness: RegistryHarness, monkeypatch: pytest.MonkeyPatch, flaw: str
    ) -> None:
        manifest = harness.upload({**version_files(), "model.int8.onnx": b"no graph at all"})
        given = {
            "model": "digits",
            "signature": oms.sign(manifest, p256_key("paula")),
            "evidence": [harness.evidence(manifest)],
            "commitment": harness.commitment(),
        }
        wrong = {
            "signature": (oms.sign(manifest, p256_key("peter")), Reason.SIGNER_MISMATCH),
            "evidence": ([harness.evidence(manifest, "anna")], Reason.ROLE_TOO_LOW),
            "model": ("letters", Reason.MODEL_UNKNOWN),
            "commitment": (NOTHING, Reason.COMMITMENT_UNKNOWN),
        }
        given[flaw], reason = wrong[flaw]
        for reading in ("open", "read", "check"):
            monkeypatch.setattr(harness.artifacts, reading, None, raising=False)
        with refused(reason):
            harness.registry.versions.register("paula", manifest=manifest.encode(), **given)

    def test_with_the_signature_of_other_files(self, harness: RegistryHarness) -> None:
        manifest = harness.upload(version_files())
        other = oms.sign(Manifest.of(version_files("other")), p256_key("paula"))
        with refused(Reason.DIGEST_MISMATCH):
            self.register(harness, manifest, signature=other)

    def test_with_a_manifest_that_is_not_canonical(self, harness: RegistryHarness) -> None:
        manifest = harness.upload(version_files())
        with refused(Reason.DOCUMENT_MALFORMED):
            harness.registry.versions.register(
                "paula", "digits", manifest.encode() + b" ", b"", [], NOTHING
            )

    def test_without_a_commitment(self, harness: RegistryHarness) -> None:
        manifest = harness.upload(version_files())
        with refused(Reason.COMMITMENT_UNKNOWN):
            self.register(harness, manifest, commitment=NOTHING)

    def test_with_the_commitment_of_another_model(self, harness: RegistryHarness) -> None:
        harness.registry.models.create("paula", "letters")
        manifest = harness.upload(version_files())
        with refused(Reason.COMMITMENT_UNKNOWN):
            self.register(harness, manifest, commitment=harness.commitment("letters"))

    def test_with_the_commitment_of_another_version(self, harness: RegistryHarness) -> None:
        used = harness.publish("one").commitment
        manifest = harness.upload(version_files())
        with refused(Reason.COMMITMENT_USED):
            self.register(harness, manifest, commitment=used)

    def test_with_evidence_about_other_bytes(self, harness: RegistryHarness) -> None:
        manifest = harness.upload(version_files())
        with refused(Reason.EVIDENCE_MISMATCH):
            self.register(
                harness, manifest, evidence=[harness.evidence(manifest, version_digest=NOTHING)]
            )

    def test_with_evidence_of_a_kind_twice(self, harness: RegistryHarness) -> None:
        manifest = harness.upload(version_files())
        items = [harness.evidence(manifest), harness.evidence(manifest, body={"n": 2})]
        with refused(Reason.EVIDENCE_MISMATCH):
            self.register(harness, manifest, evidence=items)

    def test_with_evidence_by_a_person_without_the_role(self, harness: RegistryHarness) -> None:
        manifest = harness.upload(version_files())
        with refused(Reason.ROLE_TOO_LOW):
            self.register(harness, manifest, evidence=[harness.evidence(manifest, "anna")])

    def test_with_evidence_signed_by_somebody_else(self, harness: RegistryHarness) -> None:
        manifest = harness.upload(version_files())
        forged = harness.evidence(manifest).replace(key("robot").public.keyid.encode(), b"0" * 64)
        with refused(Reason.SIGNER_MISMATCH):
            self.register(harness, manifest, evidence=[forged])

    def test_with_too_much_evidence(self, harness: RegistryHarness) -> None:
        manifest = harness.upload(version_files())
        with refused(Reason.FILE_TOO_LARGE):
            self.register(harness, manifest, evidence=[b""] * 33)

    def test_of_a_pickle_by_another_name(self, harness: RegistryHarness) -> None:
        pickled = b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94\x8c\x06system\x94."
        manifest = harness.upload({**version_files(), "model.int8.onnx": pickled})
        with refused(Reason.FORMAT_REFUSED):
            self.register(harness, manifest)

    def test_of_a_recipient_s_copy(self, harness: RegistryHarness) -> None:
        tensor = {"w": np.zeros(4, np.float32)}
        for name, data in (
            ("weights.safetensors", save(tensor, {PARENT: NOTHING})),
            ("model.int8.onnx", with_notes(version_files()["model.int8.onnx"], {PARENT: NOTHING})),
        ):
            manifest = harness.upload({**version_files(), name: data})
            with refused(Reason.COPY_REFUSED):
                self.register(harness, manifest)

    def test_nothing_is_left_of_what_was_refused(self, harness: RegistryHarness) -> None:
        manifest = harness.upload(version_files())
        size = harness.registry.log.size()
        with refused(Reason.COMMITMENT_UNKNOWN):
            self.register(harness, manifest, commitment=NOTHING)
        assert harness.registry.log.size() == size
        assert harness.registry.versions.list("digits").records == ()
        assert self.register(harness, manifest).version == 1

    def register(
        self,
        harness: RegistryHarness,
        manifest: Manifest,
        *,
        signature: bytes = b"",
        evidence: Sequence[bytes] = (),
        commitment: str = "",
    ) -> VersionRecord:
        return harness.registry.versions.register(
            "paula",
            "digits",
            manifest.encode(),
            signature or oms.sign(manifest, p256_key("paula")),
            evidence,
            commitment or harness.commitment(),
        )


class TestRevocation:
    def test_is_told(self, harness: RegistryHarness) -> None:
        version = harness.publish()
        assert harness.revoke(version).revocation_reason == "It leaks."
        assert harness.registry.versions.get("digits", 1).revocation_reason == "It leaks."

    def test_twice(self, harness: RegistryHarness) -> None:
        version = harness.publish()
        harness.revoke(version)
        with refused(Reason.VERSION_REVOKED):
            harness.revoke(version)

    def test_by_its_publisher(self, harness: RegistryHarness) -> None:
        with refused(Reason.ROLE_TOO_LOW):
            harness.revoke(harness.publish(), admin="paula")

    def test_of_nothing(self, harness: RegistryHarness) -> None:
        version = harness.publish()
        with refused(Reason.VERSION_UNKNOWN):
            harness.revoke(version, version=2)
        with refused(Reason.VERSION_UNKNOWN):
            harness.revoke(version, digest=NOTHING)
