"""A folder that `model-signing` (PyPI) signed is verified when it is imported."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from publishing.ready.mlflow import files_of, read_mlflow
from publishing.ready.model_signature import TrustedSigners, verified_signer
from registry.sandbox.confinement import Confinement
from sealgate.reasons import Reason
from sealgate.trust.keys import PublicKey
from tests.support.builders.documents.people import p256_key, refused
from tests.support.oracles import programs

Files = dict[str, bytes]
SIG = "model.sig"
NOBODY = TrustedSigners({})


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PublicKey]:
    """An MLflow folder with a signature in it, and the signer's key."""
    place = tmp_path_factory.mktemp("signed")
    folder = place / "credit"
    (folder / "data").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {onnx: {data: data/model.onnx}}\n")
    (folder / "data" / "model.onnx").write_bytes(b"\x08\x09")
    (folder / ".gitattributes").write_text("* text\n")
    key = ec.generate_private_key(ec.SECP256R1())
    raw = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (place / "key.pem").write_bytes(key.private_bytes(*raw, serialization.NoEncryption()))
    command = [programs.python_with("model_signing"), "-m", "model_signing", "sign", "key"]
    command += [f"--private_key={place / 'key.pem'}", f"--signature={folder / SIG}", str(folder)]
    done = programs.run(command)
    assert done.returncode == 0, done.stderr
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return folder, PublicKey.from_pem(public.decode())


def files(folder: Path) -> Files:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files_of(folder)}


def test_a_makers_key_that_is_listed_is_named_in_the_evidence(
    signed: tuple[Path, PublicKey],
) -> None:
    folder, key = signed
    signers = TrustedSigners({"other": p256_key("paula").public, "vendor": key})
    found = read_mlflow(folder, Confinement(), signers)
    assert found.origin is not None
    definition = found.origin.statement["predicate"]["buildDefinition"]
    told = definition["externalParameters"]["model_signature"]
    assert told == f"verified: {SIG} by vendor, key {key.keyid}"
    # The signature is kept by its digest, beside the files.
    assert SIG in {each["name"] for each in definition["resolvedDependencies"]}


def test_what_nothing_was_held_against_is_not_called_verified(
    signed: tuple[Path, PublicKey],
) -> None:
    given = files(signed[0])
    assert verified_signer(given, None) == f"not verified: {SIG}"
    assert verified_signer({name: given[name] for name in given if name != SIG}, NOBODY) is None


def altered(given: Files, edit: Callable[[dict], None]) -> Files:
    bundle = json.loads(given[SIG])
    edit(bundle)
    return given | {SIG: json.dumps(bundle).encode()}


def by_identity(bundle: dict) -> None:
    bundle["verificationMaterial"] = {"certificate": {"rawBytes": ""}}


def other_words(bundle: dict) -> None:
    envelope = bundle["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"]).replace(b"data/model.onnx", b"data/other.onnx")
    envelope["payload"] = base64.b64encode(payload).decode()


WRONG: dict[str, tuple[Reason, Callable[[Files], Files]]] = {
    "another model": (Reason.DIGEST_MISMATCH, lambda f: f | {"data/model.onnx": b"\x08\x0a"}),
    "one file more": (Reason.FILE_SURPLUS, lambda f: f | {"data/pickle.pkl": b""}),
    "one file less": (
        Reason.FILE_MISSING,
        lambda f: {name: data for name, data in f.items() if name != "MLmodel"},
    ),
    "a statement that was edited": (Reason.SIGNATURE_INVALID, lambda f: altered(f, other_words)),
    "a Sigstore identity": (Reason.SIGNER_MISMATCH, lambda f: altered(f, by_identity)),
    "no bundle": (Reason.FORMAT_REFUSED, lambda f: f | {SIG: b"{}"}),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_signature_that_does_not_hold_refuses(signed: tuple[Path, PublicKey], name: str) -> None:
    folder, key = signed
    reason, change = WRONG[name]
    with refused(reason):
        verified_signer(change(files(folder)), TrustedSigners({"vendor": key}))


def test_a_key_that_no_policy_lists_refuses(signed: tuple[Path, PublicKey]) -> None:
    for signers in (NOBODY, TrustedSigners({"other": p256_key("paula").public})):
        with refused(Reason.SIGNER_MISMATCH):
            verified_signer(files(signed[0]), signers)
