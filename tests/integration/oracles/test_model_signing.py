"""OpenSSF Model Signing bundles, checked by `model-signing` (PyPI) and by `cosign`."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sealgate.trust import canonical
from sealgate.trust.canonical import raw
from sealgate.trust.statements import Manifest, oms
from tests.support.builders.documents.people import p256_key
from tests.support.oracles import programs

FILES = {
    "model.json": b'{"name":"digits"}',
    "model.int8.onnx": bytes(range(256)) * 100,
    "golden.safetensors": b"",
    "Response.onnx": b"\x08\x09",
}
SIGNER = p256_key("paula")

# With no roots at all cosign has nothing to fetch, and takes the key alone.
NO_ROOTS = {"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}

Alter = Callable[[Path], object]


def release(folder: Path) -> None:
    """A version's folder with its bundle and the public key beside it."""
    version = folder / "version"
    version.mkdir()
    for path, data in FILES.items():
        (version / path).write_bytes(data)
    manifest = Manifest.of(FILES)
    (folder / "model.sig").write_bytes(oms.sign(manifest, SIGNER))
    (folder / "key.pem").write_text(SIGNER.public.pem)
    # The bytes that the statement's subject hashes: the files' digests, concatenated.
    digests = b"".join(raw(entry.digest) for entry in manifest.files)
    (folder / "subject").write_bytes(digests)
    (folder / "roots.json").write_bytes(canonical.encode(NO_ROOTS))


def model_signing(folder: Path) -> tuple[int, str]:
    python = programs.python_with("model_signing")
    options = [f"--signature={folder / 'model.sig'}", f"--public_key={folder / 'key.pem'}"]
    command = [python, "-m", "model_signing", "verify", "key", *options, str(folder / "version")]
    result = programs.run(command)
    return result.returncode, result.stdout + result.stderr


def cosign(folder: Path) -> tuple[int, str]:
    result = programs.run(
        [
            programs.program("cosign"),
            "verify-blob-attestation",
            "--new-bundle-format",
            "--insecure-ignore-tlog",
            f"--trusted-root={folder / 'roots.json'}",
            f"--type={oms.PREDICATE_TYPE}",
            f"--bundle={folder / 'model.sig'}",
            f"--key={folder / 'key.pem'}",
            str(folder / "subject"),
        ]
    )
    return result.returncode, result.stdout + result.stderr


def replace_key(folder: Path) -> None:
    (folder / "key.pem").write_text(p256_key("mallory").public.pem)


def borrow_signature(folder: Path) -> None:
    bundle = canonical.decode((folder / "model.sig").read_bytes())
    other = canonical.decode(oms.sign(Manifest.of({"x": b""}), SIGNER))
    bundle["dsseEnvelope"]["signatures"] = other["dsseEnvelope"]["signatures"]
    (folder / "model.sig").write_bytes(canonical.encode(bundle))


def test_model_signing_accepts_what_we_sign(tmp_path: Path) -> None:
    release(tmp_path)
    status, output = model_signing(tmp_path)
    assert status == 0, output


@pytest.mark.parametrize(
    "alter",
    [
        lambda folder: (folder / "version" / "model.json").write_bytes(b"{}"),
        lambda folder: (folder / "version" / "model.json").rename(folder / "version" / "m.json"),
        borrow_signature,
    ],
    ids=["altered", "renamed", "borrowed"],
)
def test_model_signing_refuses_what_we_did_not_sign(tmp_path: Path, alter: Alter) -> None:
    release(tmp_path)
    alter(tmp_path)
    status, output = model_signing(tmp_path)
    assert status != 0, output


def test_cosign_accepts_what_we_sign(tmp_path: Path) -> None:
    release(tmp_path)
    status, output = cosign(tmp_path)
    assert status == 0, output


@pytest.mark.parametrize(
    "alter",
    [
        lambda folder: (folder / "subject").write_bytes(b"other digests"),
        replace_key,
        borrow_signature,
    ],
    ids=["altered", "stranger", "borrowed"],
)
def test_cosign_refuses_what_we_did_not_sign(tmp_path: Path, alter: Alter) -> None:
    release(tmp_path)
    alter(tmp_path)
    status, output = cosign(tmp_path)
    assert status != 0, output
