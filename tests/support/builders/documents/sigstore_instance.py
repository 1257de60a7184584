"""A Sigstore instance of our own: an authority, a certificate log and a transparency log, with keys
made here. It signs as Fulcio and Rekor do, by their documents, and without Sigstore's library.
"""

import base64
import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import rfc8785
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealgate.trust import dsse
from sealgate.trust.statements import oms

SIGNED = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
"""When a folder is signed."""
_ISSUER = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_TIMESTAMPS = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_ORIGIN = "log.sigstore.example"
_SHA256, _ECDSA = 4, 3
_P256 = "PKIX_ECDSA_P256_SHA_256"


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _signed(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def model_statement(files: Mapping[str, bytes]) -> bytes:
    """The in-toto statement that OpenSSF Model Signing signs of a folder's files."""
    digests = {name: hashlib.sha256(data) for name, data in sorted(files.items())}
    whole = hashlib.sha256(b"".join(each.digest() for each in digests.values()))
    resources = [
        {"name": name, "algorithm": "sha256", "digest": each.hexdigest()}
        for name, each in digests.items()
    ]
    how = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "credit", "digest": {"sha256": whole.hexdigest()}}],
        "predicateType": oms.PREDICATE_TYPE,
        "predicate": {"serialization": how, "resources": resources},
    }
    return json.dumps(statement).encode()


@dataclass
class SigstoreInstance:
    """`root` is its trusted root. `bundle` signs files for whom the authority believes to be
    `identity` of `issuer`.
    """

    authority: ec.EllipticCurvePrivateKey = field(default_factory=_key)
    certificate_log: ec.EllipticCurvePrivateKey = field(default_factory=_key)
    log: ec.EllipticCurvePrivateKey = field(default_factory=_key)

    @cached_property
    def certificate(self) -> x509.Certificate:
        """The authority's own."""
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sigstore.example")])
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        made: x509.Certificate = (
            self._builder(name, name, self.authority.public_key(), timedelta(days=3650))
            .add_extension(x509.BasicConstraints(True, 0), critical=True)
            .add_extension(usage, critical=True)
            .sign(self.authority, hashes.SHA256())
        )
        return made

    @cached_property
    def root(self) -> bytes:
        """Of the form trusted_root.json."""
        since = {"start": "2026-01-01T00:00:00Z"}
        authority = {
            "subject": {"organization": "example", "commonName": "sigstore.example"},
            "uri": "https://ca.sigstore.example",
            "certChain": {"certificates": [{"rawBytes": _b64(_der(self.certificate))}]},
            "validFor": since,
        }
        logs = [
            {
                "baseUrl": f"https://{_ORIGIN}",
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": _b64(_spki(key)),
                    "keyDetails": _P256,
                    "validFor": since,
                },
                "logId": {"keyId": _b64(hashlib.sha256(_spki(key)).digest())},
            }
            for key in (self.log, self.certificate_log)
        ]
        document = {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": logs[:1],
            "certificateAuthorities": [authority],
            "ctlogs": logs[1:],
            "timestampAuthorities": [],
        }
        return json.dumps(document).encode()

    def bundle(
        self,
        statement: bytes,
        identity: str,
        issuer: str,
        *,
        kind: str = oms.PAYLOAD_TYPE,
        logged: datetime = SIGNED,
        logged_statement: bytes | None = None,
    ) -> dict[str, Any]:
        """The bundle of a statement that was logged at a time; another one may have been logged."""
        key = _key()
        certificate = self._leaf(key, identity, issuer)
        signature = _signed(key, dsse.pae(kind, statement))
        envelope = {
            "payload": _b64(statement),
            "payloadType": kind,
            "signatures": [{"sig": _b64(signature), "keyid": ""}],
        }
        entry = self._entry(logged_statement or statement, signature, certificate, logged)
        return {
            "mediaType": oms.MEDIA_TYPE,
            "verificationMaterial": {
                "certificate": {"rawBytes": _b64(_der(certificate))},
                "tlogEntries": [entry],
                "timestampVerificationData": {},
            },
            "dsseEnvelope": envelope,
        }

    def _builder(
        self, subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, life: timedelta
    ) -> x509.CertificateBuilder:
        own = x509.SubjectKeyIdentifier.from_public_key
        ours = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.authority.public_key())
        return (
            x509.CertificateBuilder(issuer, subject, key, 0x53454C)
            .not_valid_before(SIGNED - timedelta(minutes=1))
            .not_valid_after(SIGNED + life)
            .add_extension(own(key), critical=False)
            .add_extension(ours, critical=False)
        )

    def _leaf(
        self, key: ec.EllipticCurvePrivateKey, identity: str, issuer: str
    ) -> x509.Certificate:
        """For ten minutes, with the certificate log's promise in it."""
        usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
        signing = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CODE_SIGNING])
        name = x509.UniformResourceIdentifier(identity)
        if "@" in identity and "://" not in identity:
            name = x509.RFC822Name(identity)  # type: ignore[assignment]
        builder = (
            self._builder(
                x509.Name([]), self.certificate.subject, key.public_key(), timedelta(minutes=9)
            )
            .add_extension(usage, critical=True)
            .add_extension(signing, critical=False)
            .add_extension(x509.SubjectAlternativeName([name]), critical=True)
            .add_extension(x509.UnrecognizedExtension(_ISSUER, issuer.encode()), critical=False)
        )
        before = builder.sign(self.authority, hashes.SHA256()).tbs_certificate_bytes
        promise = x509.UnrecognizedExtension(_TIMESTAMPS, self._promise(before))
        final: x509.Certificate = builder.add_extension(promise, critical=False).sign(
            self.authority, hashes.SHA256()
        )
        return final

    def _promise(self, certificate: bytes) -> bytes:
        """A signed certificate timestamp (RFC 6962), as an extension's OCTET STRING."""
        when = int(SIGNED.timestamp() * 1000)
        entry = hashlib.sha256(_spki(self.authority)).digest()
        entry += len(certificate).to_bytes(3, "big") + certificate
        said = struct.pack("!BBQH", 0, 0, when, 1) + entry + struct.pack("!H", 0)
        signature = _signed(self.certificate_log, said)
        log = hashlib.sha256(_spki(self.certificate_log)).digest()
        one = struct.pack("!B32sQHBBH", 0, log, when, 0, _SHA256, _ECDSA, len(signature))
        one += signature
        listed = struct.pack("!HH", len(one) + 2, len(one)) + one
        # An OCTET STRING of fewer than 128 bytes.
        return bytes([4, len(listed)]) + listed

    def _entry(
        self, statement: bytes, signature: bytes, certificate: x509.Certificate, logged: datetime
    ) -> dict[str, Any]:
        """The only one of the transparency log, with its promise, proof and checkpoint."""
        verifier = _b64(certificate.public_bytes(Encoding.PEM))
        digest = {"algorithm": "sha256", "value": hashlib.sha256(statement).hexdigest()}
        spec = {
            "envelopeHash": digest,
            "payloadHash": digest,
            "signatures": [{"signature": _b64(signature), "verifier": verifier}],
        }
        body = rfc8785.dumps({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec})
        log, when = hashlib.sha256(_spki(self.log)).digest(), int(logged.timestamp())
        promised = {
            "body": _b64(body),
            "integratedTime": when,
            "logID": log.hex(),
            "logIndex": 0,
        }
        leaf = hashlib.sha256(b"\0" + body).digest()
        note = f"{_ORIGIN}\n1\n{_b64(leaf)}\n"
        line = _b64(log[:4] + _signed(self.log, note.encode()))
        return {
            "logIndex": "0",
            "logId": {"keyId": _b64(log)},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": str(when),
            "inclusionPromise": {
                "signedEntryTimestamp": _b64(_signed(self.log, rfc8785.dumps(promised)))
            },
            "inclusionProof": {
                "logIndex": "0",
                "rootHash": _b64(leaf),
                "treeSize": "1",
                "hashes": [],
                "checkpoint": {"envelope": f"{note}\n— {_ORIGIN} {line}\n"},
            },
            "canonicalizedBody": _b64(body),
        }


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)
