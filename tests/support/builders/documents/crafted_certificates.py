"""Certificates with names that no library would write, signed by an authority of their own.

WatchedModel and subjectAltName are DER made by hand; the rest is that of an ordinary caller.
"""

import os
import ssl
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sealgate.setup.credentials import Certificate

UTF8, PRINTABLE, TELETEX, IA5, UNIVERSAL, BMP = 0x0C, 0x13, 0x14, 0x16, 0x1C, 0x1E
EMAIL_NAME, DNS_NAME, URI_NAME = 0x81, 0x82, 0x86

_SEQUENCE, _SET, _OID = 0x30, 0x31, 0x06
_CN, _O = bytes.fromhex("550403"), bytes.fromhex("55040a")
_ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
_CRITICAL = bytes.fromhex("0101ff")
_BASIC_CONSTRAINTS, _ALTERNATIVES = bytes.fromhex("551d13"), bytes.fromhex("551d11")
_KEY_USAGE = bytes.fromhex("551d25")
_CLIENT_AUTH = bytes.fromhex("06082b06010505070302")


def element(tag: int, *contents: bytes) -> bytes:
    """A DER element."""
    content = b"".join(contents)
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def common_name(value: bytes, tag: int = UTF8) -> bytes:
    return element(_SEQUENCE, element(_OID, _CN), element(tag, value))


def organization(value: bytes, tag: int = UTF8) -> bytes:
    return element(_SEQUENCE, element(_OID, _O), element(tag, value))


def subject(*parts: bytes) -> bytes:
    """A name each of whose parts has one attribute."""
    return element(_SEQUENCE, *(element(_SET, part) for part in parts))


def one_part(*attributes: bytes) -> bytes:
    """A name of a single part, which has all the attributes."""
    return element(_SEQUENCE, element(_SET, *sorted(attributes)))


class CraftingAuthority:
    """Signs whatever it is given; its certificates begin five minutes before `now`."""

    def __init__(self, now: datetime) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "crafting")])
        self._times = now - timedelta(minutes=5), now + timedelta(days=1)
        self._issuer = name.public_bytes()
        self.pem = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(1)
            .not_valid_before(self._times[0])
            .not_valid_after(self._times[1])
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
        )

    def caller(self, name: bytes, *alternatives: tuple[int, bytes]) -> Certificate:
        """A certificate with the subject `name` and such general names."""
        key = ec.generate_private_key(ec.SECP256R1())
        named = [element(tag, value) for tag, value in alternatives]
        return self._signed(key, name, [named] if named else [])

    def with_names_twice(self, name: bytes, uri: bytes) -> Certificate:
        """A certificate with two extensions subjectAltName."""
        key = ec.generate_private_key(ec.SECP256R1())
        named = [element(URI_NAME, uri)]
        return self._signed(key, name, [named, named])

    def _signed(
        self, key: ec.EllipticCurvePrivateKey, name: bytes, named: list[list[bytes]]
    ) -> Certificate:
        public = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        times = (element(0x17, f"{time:%y%m%d%H%M%SZ}".encode()) for time in self._times)
        fields = element(
            _SEQUENCE,
            element(0xA0, element(0x02, b"\x02")),
            element(0x02, b"\x01" + os.urandom(16)),
            _ECDSA_SHA256,
            self._issuer,
            element(_SEQUENCE, *times),
            name,
            public,
            element(0xA3, element(_SEQUENCE, *_extensions(named))),
        )
        signature = self._key.sign(fields, ec.ECDSA(hashes.SHA256()))
        der = element(_SEQUENCE, fields, _ECDSA_SHA256, element(0x03, b"\x00", signature))
        body = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        return Certificate(_pem(der), key.private_bytes(*body, serialization.NoEncryption()))


def _extensions(named: list[list[bytes]]) -> list[bytes]:
    found = [
        _extension(_BASIC_CONSTRAINTS, element(_SEQUENCE), _CRITICAL),
        _extension(_KEY_USAGE, element(_SEQUENCE, _CLIENT_AUTH)),
    ]
    return found + [_extension(_ALTERNATIVES, element(_SEQUENCE, *names)) for names in named]


def _extension(oid: bytes, value: bytes, critical: bytes = b"") -> bytes:
    return element(_SEQUENCE, element(_OID, oid), critical, element(0x04, value))


def _pem(der: bytes) -> bytes:
    return ssl.DER_cert_to_PEM_cert(der).encode()
