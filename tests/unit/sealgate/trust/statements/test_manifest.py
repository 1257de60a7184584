from dataclasses import replace

import pytest

from sealgate.reasons import Reason
from sealgate.trust import canonical
from sealgate.trust.canonical import sha256
from sealgate.trust.statements import FileEntry, Manifest, oms
from sealgate.trust.statements.manifest import check_path
from tests.support.builders.documents.people import key, p256_key, refused

FILES = {"model.json": b"{}", "a.onnx": b"\x08\x09", "Golden.safetensors": b""}
MANIFEST = Manifest.of(FILES)
SIGNER = p256_key("publisher")
BUNDLE = oms.sign(MANIFEST, SIGNER)


def test_a_manifest_is_sorted_and_reads_back() -> None:
    assert [f.path for f in MANIFEST.files] == ["Golden.safetensors", "a.onnx", "model.json"]
    assert Manifest.decode(MANIFEST.encode()) == MANIFEST
    assert MANIFEST.digest == sha256(MANIFEST.encode())


def test_a_renamed_file_is_another_version() -> None:
    renamed = Manifest.of({"model.json": b"{}", "b.onnx": b"\x08\x09", "Golden.safetensors": b""})
    assert renamed.digest != MANIFEST.digest
    with refused(Reason.DIGEST_MISMATCH):
        oms.verify(BUNDLE, renamed, [SIGNER.public])


@pytest.mark.parametrize(
    "path",
    ["", ".", "..", "../a", "/a", "a/b", "a\\b", ".git", "-a", "a\n", "a\0b", "é", "a" * 129, " "],
)
def test_unsafe_paths_are_refused(path: str) -> None:
    with refused(Reason.PATH_UNSAFE):
        check_path(path)
    with refused(Reason.PATH_UNSAFE):
        Manifest.of({path: b""})


def test_the_files_must_be_the_manifests() -> None:
    MANIFEST.check(FILES)
    for files, reason in [
        ({**FILES, "b.onnx": b""}, Reason.FILE_SURPLUS),
        ({"model.json": b"{}"}, Reason.FILE_MISSING),
        ({**FILES, "model.json": b"[]"}, Reason.DIGEST_MISMATCH),
        ({**FILES, "model.json": b"{"}, Reason.DIGEST_MISMATCH),
        ({**FILES, "model.json": b"{} "}, Reason.FILE_TOO_LARGE),
    ]:
        with refused(reason):
            MANIFEST.check(files)


def test_entries_are_found_by_path() -> None:
    assert MANIFEST.entry("a.onnx").size == 2
    with refused(Reason.FILE_SURPLUS):
        MANIFEST.entry("b.onnx")


def test_repeated_and_unsorted_files_are_refused() -> None:
    one, two, three = MANIFEST.files
    with refused(Reason.FILE_DUPLICATE):
        Manifest((one, one))
    with refused(Reason.FILE_DUPLICATE):
        Manifest.of({"a": b"", "A": b""})
    with refused(Reason.DOCUMENT_MALFORMED):
        Manifest((two, one, three))
    with refused(Reason.DOCUMENT_MALFORMED):
        Manifest(())
    with refused(Reason.DOCUMENT_MALFORMED):
        Manifest.of({f"f{n}": b"" for n in range(257)})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"size":2', b'"size":-2'),
        (b'"size":2', b'"size":2.5'),
        (b'"size":2', b'"size":true'),
        (b'"size":2', b'"mode":7,"size":2'),
        (b"sha256:", b"sha512:"),
        (b"manifest/v1", b"manifest/v2"),
        (b'"files":', b'"files": '),
    ],
)
def test_other_forms_of_manifest_are_refused(old: bytes, new: bytes) -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        Manifest.decode(MANIFEST.encode().replace(old, new, 1))


def test_a_file_entry_is_checked_when_built() -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        FileEntry("a", -1, sha256(b""))


def test_a_model_signature_verifies() -> None:
    others = [key("publisher").public, p256_key("other").public]
    assert oms.verify(BUNDLE, MANIFEST, [*others, SIGNER.public]) == SIGNER.public


def test_a_model_signature_by_a_stranger_is_refused() -> None:
    for keys in ([], [p256_key("other").public], [key("publisher").public]):
        with refused(Reason.SIGNER_MISMATCH):
            oms.verify(BUNDLE, MANIFEST, keys)


def test_a_model_signature_over_other_files_is_refused() -> None:
    altered = Manifest((*MANIFEST.files[:2], replace(MANIFEST.files[2], digest=sha256(b"evil"))))
    for manifest in (altered, Manifest(MANIFEST.files[:2]), Manifest.of({**FILES, "x": b""})):
        with refused(Reason.DIGEST_MISMATCH):
            oms.verify(BUNDLE, manifest, [SIGNER.public])


def test_a_borrowed_model_signature_is_refused() -> None:
    other = canonical.decode(oms.sign(Manifest.of({"x": b""}), SIGNER))
    bundle = canonical.decode(BUNDLE)
    bundle["dsseEnvelope"]["signatures"] = other["dsseEnvelope"]["signatures"]
    with refused(Reason.SIGNATURE_INVALID):
        oms.verify(canonical.encode(bundle), MANIFEST, [SIGNER.public])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"v0.3+json", b"v0.1+json"),
        (b"in-toto+json", b"in-toto+jsom"),
        (b'"tlogEntries":[]', b'"tlogEntries":[{}]'),
        (b'"keyid":""', b'"keyid":"a"'),
        (b'"hint":', b'"aaaa":"","hint":'),
        (b'"signatures":[', b'"signatures":[{"keyid":"","sig":""},'),
    ],
)
def test_other_forms_of_bundle_are_refused(old: bytes, new: bytes) -> None:
    assert old in BUNDLE
    with refused(Reason.DOCUMENT_MALFORMED):
        oms.verify(BUNDLE.replace(old, new, 1), MANIFEST, [SIGNER.public])


def test_models_are_signed_with_p256() -> None:
    with pytest.raises(ValueError, match="P-256"):
        oms.sign(MANIFEST, key("publisher"))
