"""The identity in a client certificate, read from its DER encoding.

A TLS library's own view of the names is never used: some cut a name at its first NUL byte. Nothing
is normalised. A name that a reader could take for another is refused:

1. The certificate is DER that can be read whole, extensions included; a PrintableString has the
   letters, digits and signs of one.
2. No name in it has a control character: subject's common name, and URIs, DNS names and e-mail
   addresses of subjectAltName.
3. The subject has one common name at most, in any part of it.
4. That name is a UTF8String or PrintableString (RFC 5280, section 4.1.2.4) of 1 to 256 characters,
   each of which can be seen: no controls, no marks of direction, nothing without width, no other
   space than U+0020 and that at neither end.
5. A SPIFFE ID is the only URI (X.509-SVID, section 2), spelt as a policy spells it.

With a SPIFFE ID the identity is `spiffe:<SPIFFE ID>`, and `mtls:<common name>` without. DNS names
and e-mail addresses are no identities. Letters of different scripts that look alike are different
letters: whether `mtls:<name>` is anybody's is decided by the policy, byte by byte.
"""

import hashlib
import re
import ssl
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn

from cryptography import x509

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import fields
from sealgate.trust.fields import SPIFFE_ID

_UNREADABLE = (
    ValueError,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
_LONGEST_NAME = 256
_COMMON_NAME = b"\x55\x04\x03"
_OID, _UTF8, _PRINTABLE, _SEQUENCE, _SET, _VERSION = 0x06, 0x0C, 0x13, 0x30, 0x31, 0xA0
# Serial number, signature algorithm, issuer and validity stand before the subject.
_BEFORE_SUBJECT = 4
_LONG_TAG = 0x1F
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Spaces of other widths, and what Unicode lets be drawn as nothing though its category is another.
_BLANK = re.compile(
    "[\u00a0\u034f\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200a\u202f\u205f"
    "\u2800\u3000\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_URI = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class CertificateValidity:
    """When a certificate may be used, both ends included (RFC 5280, section 4.1.2.5)."""

    begin: datetime
    end: datetime

    def check(self, now: datetime) -> None:
        """Raises: CERTIFICATE_EXPIRED at any other time."""
        if not self.begin <= now <= self.end:
            raise SealgateError(Reason.CERTIFICATE_EXPIRED)


def certificate_validity(der: bytes) -> CertificateValidity:
    """When the certificate may be used. Raises: CERTIFICATE_MALFORMED."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        return CertificateValidity(
            certificate.not_valid_before_utc, certificate.not_valid_after_utc
        )
    except _UNREADABLE as error:
        raise SealgateError(Reason.CERTIFICATE_MALFORMED, "it cannot be read") from error


def thumbprint(pem: str) -> str:
    """The certificate's SHA-256 as `x5t#S256` spells it (RFC 8705): base64url, without padding."""
    return fields.base64url(hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).digest())


def certificate_identity(der: bytes) -> str | None:
    """The identity that the certificate proves; None if it names nobody.

    Raises: CREDENTIAL_AMBIGUOUS for several names where one is allowed, CERTIFICATE_MALFORMED for
    anything else that is refused.
    """
    # 1.
    try:
        certificate = x509.load_der_x509_certificate(der)
        alternatives = _alternatives(certificate)
        values = list(_common_names(certificate.tbs_certificate_bytes))
    except _UNREADABLE as error:
        raise SealgateError(Reason.CERTIFICATE_MALFORMED, "it cannot be read") from error
    # 2.
    for each in alternatives:
        _check_seen(str(each.value))
    # 3. and 4.
    if len(values) > 1:
        raise SealgateError(Reason.CREDENTIAL_AMBIGUOUS, "certificate with several common names")
    name = _text(*values[0]) if values else None
    # 5.
    workload = _workload([str(uri.value) for uri in alternatives if _is_uri(uri)])
    if workload is not None:
        return f"spiffe:{workload}"
    return None if name is None else f"mtls:{name}"


def _alternatives(certificate: x509.Certificate) -> list[x509.GeneralName]:
    """URIs, DNS names and e-mail addresses. Raises ValueError and what cryptography raises."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    texts = (x509.UniformResourceIdentifier, x509.DNSName, x509.RFC822Name)
    return [name for name in found if isinstance(name, texts)]


def _is_uri(name: x509.GeneralName) -> bool:
    return isinstance(name, x509.UniformResourceIdentifier)


def _workload(uris: list[str]) -> str | None:
    """Step 5: the SPIFFE ID among the URIs, if there is one."""
    if not all(map(_URI.fullmatch, uris)):
        _refuse("a URI with characters that no URI has")
    if not any(uri.lower().startswith("spiffe:") for uri in uris):
        return None
    if len(uris) > 1:
        raise SealgateError(Reason.CREDENTIAL_AMBIGUOUS, "a SPIFFE ID beside another URI")
    if not re.fullmatch(SPIFFE_ID, uris[0]):
        _refuse("a SPIFFE ID of another form")
    return uris[0]


def _common_names(tbs: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and value of each common name of a TBSCertificate's subject. Raises ValueError.

    Read here because cryptography tells neither the type of a string nor takes every string.
    """
    ((_, fields),) = _elements(tbs)
    parts = list(_elements(fields))
    if parts[0][0] == _VERSION:
        del parts[0]
    tag, subject = parts[_BEFORE_SUBJECT]
    _expect(tag, _SEQUENCE)
    for tag, attributes in _elements(subject):
        _expect(tag, _SET)
        for tag, attribute in _elements(attributes):
            _expect(tag, _SEQUENCE)
            (oid, kind), value = _elements(attribute)
            _expect(oid, _OID)
            if kind == _COMMON_NAME:
                yield value


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each DER element in `data`. Raises ValueError where it is not DER."""
    at = 0
    while at < len(data):
        if len(data) < at + 2 or data[at] & _LONG_TAG == _LONG_TAG:
            raise ValueError("not an element")
        tag, length, at = data[at], data[at + 1], at + 2
        if length >= 0x80:
            count = length & 0x7F
            length, at = int.from_bytes(data[at : at + count]), at + count
        if length > len(data) - at:
            raise ValueError("an element that ends early")
        yield tag, data[at : at + length]
        at += length


def _expect(tag: int, wanted: int) -> None:
    if tag != wanted:
        raise ValueError(f"an element of another type: {tag:#x}")


def _text(tag: int, value: bytes) -> str:
    """Step 4."""
    if tag not in (_UTF8, _PRINTABLE):
        _refuse("a common name that is neither UTF8String nor PrintableString")
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        _refuse("a common name that is not UTF-8")
    if not 1 <= len(text) <= _LONGEST_NAME:
        _refuse("a common name that is empty or too long")
    if text != text.strip(" "):
        _refuse("a common name with a space at an end")
    _check_seen(text)
    return text


def _check_seen(text: str) -> None:
    if _BLANK.search(text) or any(unicodedata.category(each) in _UNSEEN for each in text):
        _refuse("a name with characters that cannot be seen")


def _refuse(detail: str) -> NoReturn:
    raise SealgateError(Reason.CERTIFICATE_MALFORMED, detail)
