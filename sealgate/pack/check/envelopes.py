"""Checks every DSSE envelope of this pack with `securesystemslib`, and says who signed it.

    python3 check/envelopes.py

Passkeys' signatures are checked with `webauthn`, which only packs with such signatures need. Run it
in the pack's folder. It prints the first policy's root keys: compare their ids with those that you
were given by another way than this pack, for all trust comes from them.
"""

import base64
import hashlib
import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

# The field of a document that names who must have signed it.
AUTHORS = ("proposer", "approver", "maker", "admin", "person")


def key(keyid: str, pem: str) -> SSlibKey:
    public = load_pem_public_key(pem.encode())
    if isinstance(public, Ed25519PublicKey):
        raw = public.public_bytes_raw().hex()
        return SSlibKey(keyid, "ed25519", "ed25519", {"public": raw})
    return SSlibKey(keyid, "ecdsa", "ecdsa-sha2-nistp256", {"public": pem})


def check_policies(envelopes: list) -> list:
    """Each policy is signed by its own root and by that of the policy before it."""
    policies = [json.loads(envelope.payload) for envelope in envelopes]
    for place, (policy, envelope) in enumerate(zip(policies, envelopes, strict=True)):
        for signers in (policies[max(place - 1, 0)], policy):
            roots = [key(keyid, signers["keys"][keyid]) for keyid in signers["root"]["keys"]]
            envelope.verify(roots, signers["root"]["threshold"])
        if policy["version"] != policies[0]["version"] + place:
            raise VerificationError("a policy is missing")
    return policies


def check_passkey(envelope: Envelope, passkey: dict, signature: bytes) -> None:
    """The challenge is the SHA-256 of what another key would sign."""
    from webauthn import verify_authentication_response
    from webauthn.helpers.exceptions import WebAuthnException

    names = ("authenticatorData", "clientDataJSON", "signature")
    assertion = json.loads(signature)
    credential = base64url(passkey["credential"])
    try:
        verify_authentication_response(
            credential={
                "id": credential,
                "rawId": credential,
                "type": "public-key",
                "response": {name: base64url(assertion[name]) for name in names},
            },
            expected_challenge=hashlib.sha256(envelope.pae()).digest(),
            expected_rp_id=passkey["rp_id"],
            expected_origin=passkey["origins"],
            credential_public_key=base64.b64decode(passkey["cose_key"]),
            # The registry held the counter against those before it.
            credential_current_sign_count=0,
            require_user_verification=True,
        )
    except WebAuthnException as error:
        raise VerificationError(str(error)) from error


def base64url(text: str) -> str:
    return text.translate(str.maketrans("+/", "-_")).rstrip("=")


def check_document(envelope: Envelope, policies: list) -> str:
    """The document is signed by whom it names, with keys that some policy gives to that person."""
    document = json.loads(envelope.payload)
    author = next(document[field] for field in AUTHORS if field in document)
    keys = {
        keyid: policy["keys"][keyid]
        for policy in policies
        for person in policy["principals"]
        if person["name"] == author
        for keyid in person["keys"]
        if keyid in policy["keys"]
    }
    passkeys = {
        keyid: policy["webauthn"][keyid]
        for policy in policies
        for person in policy["principals"]
        if person["name"] == author
        for keyid in person["keys"]
        if keyid in policy.get("webauthn", {})
    }
    signed = {keyid: passkeys[keyid] for keyid in envelope.signatures if keyid in passkeys}
    for keyid, passkey in signed.items():
        check_passkey(envelope, passkey, bytes.fromhex(envelope.signatures[keyid].signature))
    if not signed:
        envelope.verify([key(keyid, pem) for keyid, pem in keys.items()], 1)
    meaning = document.get("meaning") or document.get("reason") or document.get("text") or ""
    return f"{author}  {meaning}".rstrip()


def read(path: Path) -> Envelope:
    return Envelope.from_dict(json.loads(path.read_text()))


def main() -> None:
    paths = sorted(Path("policies").glob("*.dsse.json"), key=lambda path: int(path.name[:-10]))
    policies = check_policies([read(path) for path in paths])
    print(f"{len(policies)} policies; the first one's root: {policies[0]['root']['threshold']} of")
    for keyid in policies[0]["root"]["keys"]:
        print(f"  {keyid}")
    for path in sorted(Path("models").rglob("*.dsse.json")):
        print(f"{path}  signed by {check_document(read(path), policies)}")


try:
    main()
except (
    VerificationError,
    ValueError,
    ImportError,
    KeyError,
    TypeError,
    StopIteration,
    OSError,
) as error:
    sys.exit(f"not verified: {type(error).__name__} {error}")
