"""X.509 certificates and tokens for an installation: an authority, a server, callers (RFC 5280).

All keys are P-256. Times are passed in; serial numbers and keys are random.
"""

import ipaddress
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

import jwt
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sealgate.reasons import Reason, SealgateError

_E = TypeVar("_E", bound=x509.ExtensionType)
# Clocks of neighbours may run behind ours.
_BACKDATE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with its private key, both as PEM."""

    certificate: bytes
    key: bytes


class CertificateAuthority:
    """A certificate authority of one installation.

    Its certificates live for `lifetime`, and never longer than the authority itself.
    """

    def __init__(
        self,
        name: str,
        now: datetime,
        lifetime: timedelta,
        *,
        own_lifetime: timedelta | None = None,
        kept: tuple[ec.EllipticCurvePrivateKey, x509.Certificate] | None = None,
    ) -> None:
        """A new authority, which itself lives for `own_lifetime` or else for `lifetime`; or the one
        of a key and certificate that were kept.
        """
        self._now = now
        self._lifetime = lifetime
        self._is_new = kept is None
        self._key, self._certificate = kept or _authority(name, now, own_lifetime or lifetime)

    @classmethod
    def load(
        cls,
        certificate: bytes,
        key: bytes,
        passphrase: bytes | None,
        now: datetime,
        lifetime: timedelta,
    ) -> "CertificateAuthority":
        """The authority of a certificate and its key, both PEM.

        Raises SealgateError(KEY_UNREADABLE) for a wrong passphrase, another kind of key or another
        authority's.
        """
        try:
            loaded = serialization.load_pem_private_key(key, passphrase)
            own = x509.load_pem_x509_certificate(certificate)
        except (ValueError, TypeError) as error:
            raise SealgateError(Reason.KEY_UNREADABLE, "the authority's key") from error
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise SealgateError(Reason.KEY_UNREADABLE, "the authority's key is not P-256")
        if loaded.public_key() != own.public_key():
            raise SealgateError(Reason.KEY_UNREADABLE, "the key is another authority's")
        return cls("", now, lifetime, kept=(loaded, own))

    def key_pem(self, passphrase: bytes | None) -> bytes:
        """The authority's private key, encrypted if there is a passphrase."""
        return _private_pem(self._key, passphrase)

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

    def reissue(self, certificate: bytes, key: bytes) -> bytes:
        """A new certificate with the name, hosts and usage of an earlier one, expired or not, for
        the same key; all PEM.

        An authority that was kept renews what it has issued itself: whoever can write a file may
        have put any name there. Raises SealgateError(KEY_UNREADABLE), also for another key.
        """
        try:
            before = x509.load_pem_x509_certificate(certificate)
            loaded = serialization.load_pem_private_key(key, None)
        except (ValueError, TypeError) as error:
            raise SealgateError(Reason.KEY_UNREADABLE, "a certificate or its key") from error
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise SealgateError(Reason.KEY_UNREADABLE, "the certificate's key is not P-256")
        if loaded.public_key() != before.public_key():
            raise SealgateError(Reason.KEY_UNREADABLE, "the key is not the certificate's")
        if not self._is_new:
            _check_issuer(before, self._certificate)
        names = before.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        usage = _extension(before, x509.ExtendedKeyUsage)
        use = next(iter(usage or ()), None)
        if use is None:
            raise SealgateError(Reason.KEY_UNREADABLE, "a certificate without a usage")
        name = str(names[0].value) if names else ""
        others = _extension(before, x509.SubjectAlternativeName)
        return self._issue(name, use, others, loaded).certificate

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
        key: ec.EllipticCurvePrivateKey | None = None,
    ) -> Certificate:
        key = key or ec.generate_private_key(ec.SECP256R1())
        until = min(self._now + self._lifetime, self._certificate.not_valid_after_utc)
        issuer = self._certificate.subject
        builder = (
            _builder(_common_name(name), issuer, key.public_key(), self._now, until)
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
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        return Certificate(pem, _private_pem(key, None))


def _authority(
    name: str, now: datetime, lifetime: timedelta
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject, public = _common_name(name), key.public_key()
    usage = _key_usage(digital_signature=False, key_cert_sign=True)
    identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    certificate = (
        _builder(subject, subject, public, now, now + lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    return key, certificate


def _check_issuer(certificate: x509.Certificate, authority: x509.Certificate) -> None:
    """Raises SealgateError(KEY_UNREADABLE)."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature) as error:
        detail = "another authority issued the certificate"
        raise SealgateError(Reason.KEY_UNREADABLE, detail) from error


def _extension(certificate: x509.Certificate, kind: type[_E]) -> _E | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _private_pem(key: ec.EllipticCurvePrivateKey, passphrase: bytes | None) -> bytes:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        encryption = serialization.BestAvailableEncryption(passphrase)
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, encryption)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    now: datetime,
    until: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(until)
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
