"""X.509 certificates and tokens for an installation: an authority, a server, callers (RFC 5280).

All keys are P-256. Times are passed in; serial numbers and keys are random.
"""

import ipaddress
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# Clocks of neighbours may run behind ours.
_BACKDATE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with its private key, both as PEM."""

    certificate: bytes
    key: bytes


class CertificateAuthority:
    """A certificate authority of one installation; its key may be thrown away after use."""

    def __init__(self, name: str, now: datetime, lifetime: timedelta) -> None:
        self._now = now
        self._lifetime = lifetime
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _common_name(name)
        usage = _key_usage(digital_signature=False, key_cert_sign=True)
        self._certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )

    @property
    def pem(self) -> bytes:
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def server(self, name: str, hosts: tuple[str, ...]) -> Certificate:
        """A certificate for a server that is reached under `hosts`, names or addresses."""
        alternatives = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
        return self._issue(name, ExtendedKeyUsageOID.SERVER_AUTH, alternatives)

    def nobody(self) -> Certificate:
        """A certificate that names nobody, for a program that calls with other people's tokens."""
        return self._issue("", ExtendedKeyUsageOID.CLIENT_AUTH, None)

    def caller(self, name: str, *uris: str) -> Certificate:
        """A certificate for a caller, whose identity is `mtls:<name>`; or, with a SPIFFE ID among
        `uris`, `spiffe:<SPIFFE ID>`.
        """
        named = [x509.UniformResourceIdentifier(uri) for uri in uris]
        alternatives = x509.SubjectAlternativeName(named) if named else None
        return self._issue(name, ExtendedKeyUsageOID.CLIENT_AUTH, alternatives)

    def _issue(
        self,
        name: str,
        usage: x509.ObjectIdentifier,
        alternatives: x509.SubjectAlternativeName | None,
    ) -> Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            self._builder(_common_name(name), key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(digital_signature=True, key_cert_sign=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        if alternatives is not None:
            builder = builder.add_extension(alternatives, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return Certificate(
            certificate.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )

    def _builder(
        self, subject: x509.Name, public_key: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - _BACKDATE)
            .not_valid_after(self._now + self._lifetime)
        )


def _common_name(name: str) -> x509.Name:
    """Of an empty name, there is no part."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, digital_signature: bool, key_cert_sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=key_cert_sign,
        encipher_only=False,
        decipher_only=False,
    )


ISSUER = "https://issuer.sealgate.localhost"
AUDIENCE = "sealgate"
_KEY_ID = "local-1"


def new_issuer_key() -> bytes:
    """A fresh P-256 key as PKCS#8 PEM."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def key_set(issuer_key: bytes) -> bytes:
    """The JWK set (RFC 7517) with the issuer's public key."""
    key = serialization.load_pem_private_key(issuer_key, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the issuer's key is not a P-256 key")
    public = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    entry = {**public, "kid": _KEY_ID, "use": "sig", "alg": "ES256"}
    return json.dumps({"keys": [entry]}, indent=2).encode()


def mint_token(
    issuer_key: bytes, subject: str, now: datetime, lifetime: timedelta, bound_to: str = ""
) -> str:
    """A bearer token for `subject`, valid from `now` for `lifetime`.

    With `bound_to`, it holds only together with the client certificate of that `x5t#S256`.
    """
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": subject,
        "iat": now,
        "nbf": now,
        "exp": now + lifetime,
    }
    if bound_to:
        claims["cnf"] = {"x5t#S256": bound_to}
    return jwt.encode(claims, issuer_key, algorithm="ES256", headers={"kid": _KEY_ID})
