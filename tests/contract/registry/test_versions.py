"""Models, watermark commitments, uploads and versions."""

from collections.abc import Sequence

import numpy as np
import pytest
from safetensors.numpy import save

from publishing.watermark.files import with_notes
from registry.formats.format_check import PARENT
from registry.models.versions import Upload
from registry.state.records import VersionRecord
from sealgate.reasons import Reason
from sealgate.trust.canonical import sha256
from sealgate.trust.statements import Manifest, oms
from tests.support.bureau import Bureau, version_files
from tests.support.people import at, key, p256_key, refused

NOTHING = "sha256:" + "0" * 64


class TestModel:
    def test_is_read_back(self, bureau: Bureau) -> None:
        assert [model.model for model in bureau.registry.models.list().records] == ["digits"]
        model = bureau.registry.models.get("digits")
        assert (model.creator, model.time, model.latest_version) == ("paula", at(), 0)
        bureau.publish()
        assert bureau.registry.models.get("digits").latest_version == 1

    def test_twice(self, bureau: Bureau) -> None:
        with refused(Reason.MODEL_EXISTS):
            bureau.registry.models.create("peter", "digits")

    @pytest.mark.parametrize("name", ["", "Digits", "../x", "a/b", "a" * 64, "a\n"])
    def test_of_another_form(self, bureau: Bureau, name: str) -> None:
        with refused(Reason.NAME_MALFORMED):
            bureau.registry.models.create("paula", name)

    def test_unknown(self, bureau: Bureau) -> None:
        with refused(Reason.MODEL_UNKNOWN):
            bureau.registry.models.get("letters")

    def test_without_a_policy(self, empty_bureau: Bureau) -> None:
        with refused(Reason.POLICY_INVALID):
            empty_bureau.registry.models.create("paula", "digits")


class TestCommitment:
    def test_is_an_entry(self, bureau: Bureau) -> None:
        entry = bureau.registry.models.commit_watermark("paula", "digits", sha256(b"1"))
        assert sha256(b"1").encode() in bureau.registry.log.entry(entry)

    def test_again_is_the_same(self, bureau: Bureau) -> None:
        entry = bureau.registry.models.commit_watermark("paula", "digits", sha256(b"1"))
        assert bureau.registry.models.commit_watermark("paula", "digits", sha256(b"1")) == entry
        assert bureau.registry.log.size() == entry + 1

    def test_of_somebody_else(self, bureau: Bureau) -> None:
        bureau.registry.models.create("paula", "letters")
        bureau.registry.models.commit_watermark("paula", "digits", sha256(b"1"))
        with refused(Reason.COMMITMENT_EXISTS):
            bureau.registry.models.commit_watermark("peter", "digits", sha256(b"1"))
        with refused(Reason.COMMITMENT_EXISTS):
            bureau.registry.models.commit_watermark("paula", "letters", sha256(b"1"))

    def test_that_is_no_digest(self, bureau: Bureau) -> None:
        with refused(Reason.DOCUMENT_MALFORMED):
            bureau.registry.models.commit_watermark("paula", "digits", "1")

    def test_for_no_model(self, bureau: Bureau) -> None:
        with refused(Reason.MODEL_UNKNOWN):
            bureau.registry.models.commit_watermark("paula", "letters", sha256(b"1"))


class TestUpload:
    def test_of_a_file_not_named(self, bureau: Bureau) -> None:
        upload = self.start(bureau)
        with refused(Reason.FILE_SURPLUS):
            upload.receive("other.json", [b"{}"])

    def test_of_a_file_twice(self, bureau: Bureau) -> None:
        upload = self.start(bureau)
        upload.receive("model.json", [version_files()["model.json"]])
        with refused(Reason.FILE_DUPLICATE):
            upload.receive("model.json", [version_files()["model.json"]])

    def test_without_a_file(self, bureau: Bureau) -> None:
        upload = self.start(bureau)
        upload.receive("model.json", [version_files()["model.json"]])
        with refused(Reason.FILE_MISSING):
            upload.finish()

    def test_of_too_much(self, bureau: Bureau) -> None:
        with refused(Reason.FILE_TOO_LARGE):
            self.start(bureau).receive("model.json", [version_files()["model.json"], b"!"])

    def test_of_other_bytes(self, bureau: Bureau) -> None:
        with refused(Reason.DIGEST_MISMATCH):
            self.start(bureau).receive("model.json", [b"{}"])

    def test_of_a_name_that_is_not_accepted(self, bureau: Bureau) -> None:
        manifest = Manifest.of({"model.pkl": b""})
        with refused(Reason.FORMAT_REFUSED):
            bureau.registry.versions.start_upload("paula", "digits", manifest.encode())

    def test_for_no_model(self, bureau: Bureau) -> None:
        with refused(Reason.MODEL_UNKNOWN):
            bureau.registry.versions.start_upload(
                "paula", "letters", Manifest.of({"a.json": b""}).encode()
            )

    def test_signed_by_somebody_else(self, bureau: Bureau) -> None:
        manifest = Manifest.of(version_files())
        signature = oms.sign(manifest, p256_key("peter"))
        with refused(Reason.SIGNER_MISMATCH):
            bureau.registry.versions.start_upload("paula", "digits", manifest.encode(), signature)

    def test_of_what_is_registered(self, bureau: Bureau) -> None:
        version = bureau.publish()
        with refused(Reason.VERSION_EXISTS):
            bureau.registry.versions.start_upload("paula", "digits", version.manifest)

    def start(self, bureau: Bureau) -> Upload:
        manifest = Manifest.of(version_files())
        return bureau.registry.versions.start_upload("paula", "digits", manifest.encode())


class TestVersion:
    def test_is_read_back(self, bureau: Bureau) -> None:
        first, second = bureau.publish("one"), bureau.publish("two")
        assert (first.version, second.version) == (1, 2)
        assert first.publisher == "paula"
        assert first.digest == Manifest.decode(first.manifest).digest
        assert first.watermark_entry < first.entry
        assert first.revocation_reason == ""
        assert bureau.registry.versions.get("digits", 1) == first
        assert bureau.registry.versions.list("digits").records == (first, second)

    def test_its_files_are_read_back(self, bureau: Bureau) -> None:
        bureau.publish("one")
        for path, data in version_files("one").items():
            assert bureau.registry.versions.read_file("digits", 1, path) == data
        with refused(Reason.FILE_SURPLUS):
            bureau.registry.versions.read_file("digits", 1, "../registry.db")

    def test_unknown(self, bureau: Bureau) -> None:
        with refused(Reason.VERSION_UNKNOWN):
            bureau.registry.versions.get("digits", 1)
        with refused(Reason.MODEL_UNKNOWN):
            bureau.registry.versions.get("letters", 1)
        with refused(Reason.MODEL_UNKNOWN):
            bureau.registry.versions.list("letters")

    def test_of_the_same_bytes(self, bureau: Bureau) -> None:
        version = bureau.publish()
        with refused(Reason.VERSION_EXISTS):
            self.register(bureau, Manifest.decode(version.manifest))

    def test_of_the_same_bytes_for_another_model(self, bureau: Bureau) -> None:
        bureau.registry.models.create("paula", "letters")
        assert bureau.publish(model="letters").digest == bureau.publish().digest

    def test_of_files_that_were_not_sent(self, bureau: Bureau) -> None:
        with refused(Reason.FILE_MISSING):
            self.register(bureau, Manifest.of(version_files()))

    def test_signed_by_somebody_else(self, bureau: Bureau) -> None:
        manifest = bureau.upload(version_files())
        with refused(Reason.SIGNER_MISMATCH):
            self.register(bureau, manifest, signature=oms.sign(manifest, p256_key("peter")))

    @pytest.mark.parametrize("flaw", ["signature", "evidence", "model", "commitment"])
    def test_no_file_is_read_before_all_else_is_checked(
        self, bureau: Bureau, monkeypatch: pytest.MonkeyPatch, flaw: str
    ) -> None:
        manifest = bureau.upload({**version_files(), "model.int8.onnx": b"no graph at all"})
        given = {
            "model": "digits",
            "signature": oms.sign(manifest, p256_key("paula")),
            "evidence": [bureau.evidence(manifest)],
            "commitment": bureau.commitment(),
        }
        wrong = {
            "signature": (oms.sign(manifest, p256_key("peter")), Reason.SIGNER_MISMATCH),
            "evidence": ([bureau.evidence(manifest, "anna")], Reason.ROLE_TOO_LOW),
            "model": ("letters", Reason.MODEL_UNKNOWN),
            "commitment": (NOTHING, Reason.COMMITMENT_UNKNOWN),
        }
        given[flaw], reason = wrong[flaw]
        for reading in ("open", "read", "check"):
            monkeypatch.setattr(bureau.artifacts, reading, None, raising=False)
        with refused(reason):
            bureau.registry.versions.register("paula", manifest=manifest.encode(), **given)

    def test_with_the_signature_of_other_files(self, bureau: Bureau) -> None:
        manifest = bureau.upload(version_files())
        other = oms.sign(Manifest.of(version_files("other")), p256_key("paula"))
        with refused(Reason.DIGEST_MISMATCH):
            self.register(bureau, manifest, signature=other)

    def test_with_a_manifest_that_is_not_canonical(self, bureau: Bureau) -> None:
        manifest = bureau.upload(version_files())
        with refused(Reason.DOCUMENT_MALFORMED):
            bureau.registry.versions.register(
                "paula", "digits", manifest.encode() + b" ", b"", [], NOTHING
            )

    def test_without_a_commitment(self, bureau: Bureau) -> None:
        manifest = bureau.upload(version_files())
        with refused(Reason.COMMITMENT_UNKNOWN):
            self.register(bureau, manifest, commitment=NOTHING)

    def test_with_the_commitment_of_another_model(self, bureau: Bureau) -> None:
        bureau.registry.models.create("paula", "letters")
        manifest = bureau.upload(version_files())
        with refused(Reason.COMMITMENT_UNKNOWN):
            self.register(bureau, manifest, commitment=bureau.commitment("letters"))

    def test_with_the_commitment_of_another_version(self, bureau: Bureau) -> None:
        used = bureau.publish("one").commitment
        manifest = bureau.upload(version_files())
        with refused(Reason.COMMITMENT_USED):
            self.register(bureau, manifest, commitment=used)

    def test_with_evidence_about_other_bytes(self, bureau: Bureau) -> None:
        manifest = bureau.upload(version_files())
        with refused(Reason.EVIDENCE_MISMATCH):
            self.register(
                bureau, manifest, evidence=[bureau.evidence(manifest, version_digest=NOTHING)]
            )

    def test_with_evidence_of_a_kind_twice(self, bureau: Bureau) -> None:
        manifest = bureau.upload(version_files())
        items = [bureau.evidence(manifest), bureau.evidence(manifest, body={"n": 2})]
        with refused(Reason.EVIDENCE_MISMATCH):
            self.register(bureau, manifest, evidence=items)

    def test_with_evidence_by_a_person_without_the_role(self, bureau: Bureau) -> None:
        manifest = bureau.upload(version_files())
        with refused(Reason.ROLE_TOO_LOW):
            self.register(bureau, manifest, evidence=[bureau.evidence(manifest, "anna")])

    def test_with_evidence_signed_by_somebody_else(self, bureau: Bureau) -> None:
        manifest = bureau.upload(version_files())
        forged = bureau.evidence(manifest).replace(key("robot").public.keyid.encode(), b"0" * 64)
        with refused(Reason.SIGNER_MISMATCH):
            self.register(bureau, manifest, evidence=[forged])

    def test_with_too_much_evidence(self, bureau: Bureau) -> None:
        manifest = bureau.upload(version_files())
        with refused(Reason.FILE_TOO_LARGE):
            self.register(bureau, manifest, evidence=[b""] * 33)

    def test_of_a_pickle_by_another_name(self, bureau: Bureau) -> None:
        pickled = b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94\x8c\x06system\x94."
        manifest = bureau.upload({**version_files(), "model.int8.onnx": pickled})
        with refused(Reason.FORMAT_REFUSED):
            self.register(bureau, manifest)

    def test_of_a_recipient_s_copy(self, bureau: Bureau) -> None:
        tensor = {"w": np.zeros(4, np.float32)}
        for name, data in (
            ("weights.safetensors", save(tensor, {PARENT: NOTHING})),
            ("model.int8.onnx", with_notes(version_files()["model.int8.onnx"], {PARENT: NOTHING})),
        ):
            manifest = bureau.upload({**version_files(), name: data})
            with refused(Reason.COPY_REFUSED):
                self.register(bureau, manifest)

    def test_nothing_is_left_of_what_was_refused(self, bureau: Bureau) -> None:
        manifest = bureau.upload(version_files())
        size = bureau.registry.log.size()
        with refused(Reason.COMMITMENT_UNKNOWN):
            self.register(bureau, manifest, commitment=NOTHING)
        assert bureau.registry.log.size() == size
        assert bureau.registry.versions.list("digits").records == ()
        assert self.register(bureau, manifest).version == 1

    def register(
        self,
        bureau: Bureau,
        manifest: Manifest,
        *,
        signature: bytes = b"",
        evidence: Sequence[bytes] = (),
        commitment: str = "",
    ) -> VersionRecord:
        return bureau.registry.versions.register(
            "paula",
            "digits",
            manifest.encode(),
            signature or oms.sign(manifest, p256_key("paula")),
            evidence,
            commitment or bureau.commitment(),
        )


class TestRevocation:
    def test_is_told(self, bureau: Bureau) -> None:
        version = bureau.publish()
        assert bureau.revoke(version).revocation_reason == "It leaks."
        assert bureau.registry.versions.get("digits", 1).revocation_reason == "It leaks."

    def test_twice(self, bureau: Bureau) -> None:
        version = bureau.publish()
        bureau.revoke(version)
        with refused(Reason.VERSION_REVOKED):
            bureau.revoke(version)

    def test_by_its_publisher(self, bureau: Bureau) -> None:
        with refused(Reason.ROLE_TOO_LOW):
            bureau.revoke(bureau.publish(), admin="paula")

    def test_of_nothing(self, bureau: Bureau) -> None:
        version = bureau.publish()
        with refused(Reason.VERSION_UNKNOWN):
            bureau.revoke(version, version=2)
        with refused(Reason.VERSION_UNKNOWN):
            bureau.revoke(version, digest=NOTHING)
