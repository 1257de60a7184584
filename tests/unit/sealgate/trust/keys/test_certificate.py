"""The name in a certificate, read from its bytes: one plain name, or nobody."""

import ssl
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from sealgate.reasons import Reason, SealgateError
from sealgate.remote import Access
from sealgate.setup.credentials import CertificateAuthority
from sealgate.trust.keys.certificate_identity import certificate_identity
from tests.support.builders.documents.crafted_certificates import (
    BMP,
    DNS_NAME,
    EMAIL_NAME,
    IA5,
    PRINTABLE,
    TELETEX,
    UNIVERSAL,
    URI_NAME,
    UTF8,
    CraftingAuthority,
    common_name,
    element,
    one_part,
    organization,
    subject,
)
from tests.support.builders.documents.people import refused

CRAFTING = CraftingAuthority(datetime.now(UTC))
ADMIN = subject(common_name(b"admin"))
SPIFFE = b"spiffe://example.org/batch"


def identity(name: bytes, *alternatives: tuple[int, bytes]) -> str | None:
    pem = CRAFTING.caller(name, *alternatives).certificate.decode()
    return certificate_identity(ssl.PEM_cert_to_DER_cert(pem))


@pytest.mark.parametrize(
    ("value", "tag", "name"),
    [
        (b"admin", UTF8, "admin"),
        (b"admin", PRINTABLE, "admin"),
        (b"Admin", UTF8, "Admin"),
        (b"anna b. (ops)", PRINTABLE, "anna b. (ops)"),
        ("José".encode(), UTF8, "José"),
        # Two spellings of one look: each is itself, and no other.
        ("Jose\u0301".encode(), UTF8, "Jose\u0301"),
        # Cyrillic letters: not `admin`.
        ("\u0430dmin".encode(), UTF8, "\u0430dmin"),
        ("\uff41dmin".encode(), UTF8, "\uff41dmin"),
        ("\u2474".encode(), UTF8, "\u2474"),
        (b"x" * 256, UTF8, "x" * 256),
    ],
)
def test_a_common_name_is_taken_as_it_is(value: bytes, tag: int, name: str) -> None:
    assert identity(subject(common_name(value, tag))) == f"mtls:{name}"


def test_what_else_the_subject_says_is_not_looked_at() -> None:
    beside = organization(b"x\0y"), organization("admin".encode("utf-16-be"), BMP)
    assert identity(subject(*beside, common_name(b"anna"))) == "mtls:anna"
    assert identity(one_part(*beside, common_name(b"anna"))) == "mtls:anna"


@pytest.mark.parametrize(
    "name", [subject(), subject(organization(b"admin"))], ids=["empty", "without"]
)
def test_a_certificate_without_a_common_name_names_nobody(name: bytes) -> None:
    assert identity(name) is None
    assert identity(name, (DNS_NAME, b"admin"), (EMAIL_NAME, b"admin@example.org")) is None


@pytest.mark.parametrize(
    "text",
    [
        "admin\0evil",
        "admin\0",
        "\0",
        "admin\n",
        "admin\x1b[2K",
        "admin\x7f",
        "admin\x85",
        "admin\u200b",
        "\u202enimda",
        "admin\u200f",
        "\u2066admin\u2069",
        "\ufeffadmin",
        "ad\u00admin",
        "ad\u034fmin",
        "admin\u2028",
        "admin\ufe0f",
        "admin\ue000",
        "admin\uffff",
        "admin\U000e0061",
        "anna\u00a0b",
        " admin",
        "admin ",
        "",
        "x" * 257,
    ],
    ids=ascii,
)
def test_a_common_name_that_is_not_what_it_looks_like(text: str) -> None:
    with refused(Reason.CERTIFICATE_MALFORMED):
        identity(subject(common_name(text.encode())))


@pytest.mark.parametrize(
    ("value", "tag"),
    [
        (b"admin", TELETEX),
        (b"admin\x1b(J", TELETEX),
        (b"admin", IA5),
        ("admin".encode("utf-16-be"), BMP),
        ("admin".encode("utf-32-be"), UNIVERSAL),
        (b"admin", 0x04),
        (b"\x05", 0x02),
        (b"admin\xff", UTF8),
        (b"\xc0\x80admin", UTF8),
        (b"admin\xed\xa0\x80", UTF8),
        ("José".encode(), PRINTABLE),
        (b"anna_1@example.org", PRINTABLE),
        (b"admin\0evil", PRINTABLE),
        (element(UTF8, b"admin"), 0x30),
    ],
)
def test_a_common_name_of_another_encoding(value: bytes, tag: int) -> None:
    with refused(Reason.CERTIFICATE_MALFORMED):
        identity(subject(common_name(value, tag)))


@pytest.mark.parametrize(
    "name",
    [
        subject(common_name(b"anna"), common_name(b"admin")),
        subject(common_name(b"admin"), common_name(b"admin")),
        subject(common_name(b"admin", PRINTABLE), common_name(b"admin", UTF8)),
        subject(common_name(b"admin"), common_name("anna".encode("utf-16-be"), BMP)),
        subject(common_name(b"admin"), organization(b"x"), common_name(b"")),
        one_part(common_name(b"anna"), common_name(b"admin")),
        one_part(common_name(b"anna"), organization(b"x"), common_name(b"admin", PRINTABLE)),
    ],
    ids=["two", "twice", "two-types", "bmp", "empty", "one-part", "one-part-types"],
)
def test_several_common_names(name: bytes) -> None:
    with refused(Reason.CREDENTIAL_AMBIGUOUS):
        identity(name)


def test_a_workload_is_known_by_its_id_alone() -> None:
    assert identity(ADMIN, (URI_NAME, SPIFFE)) == f"spiffe:{SPIFFE.decode()}"
    assert identity(subject(), (DNS_NAME, b"admin"), (URI_NAME, SPIFFE)) == (
        f"spiffe:{SPIFFE.decode()}"
    )
    assert identity(ADMIN, (URI_NAME, b"https://example.org/anna")) == "mtls:admin"


@pytest.mark.parametrize(
    "uri",
    [
        b"SPIFFE://example.org/batch",
        b"spiffe://Example.org/batch",
        b"spiffe://example.org:443/batch",
        b"spiffe://user@example.org/batch",
        b"spiffe://example.org/%62atch",
        b"spiffe://example.org/a/../batch",
        b"spiffe://example.org//batch",
        b"spiffe://example.org/batch/",
        b"spiffe://example.org/batch?x",
        b"spiffe://example.org/batch#x",
        b"spiffe://example.org",
        b"spiffe://",
        b"spiffe:example.org/batch",
        b"spiffe:///batch",
        b"spiffe://example.org/batch\0",
        b"spiffe://example.org/batch\0/admin",
        b" spiffe://example.org/batch",
        b"https://example.org/a b",
        b"https://example.org/\xe9",
        b"https://example.org/\0",
        b"",
        b"spiffe://example.org/" + b"x" * 2048,
    ],
)
def test_a_uri_that_is_spelt_otherwise(uri: bytes) -> None:
    with refused(Reason.CERTIFICATE_MALFORMED):
        identity(ADMIN, (URI_NAME, uri))


@pytest.mark.parametrize("other", [b"spiffe://example.org/b", b"https://example.org", SPIFFE])
def test_a_workload_beside_another_uri(other: bytes) -> None:
    with refused(Reason.CREDENTIAL_AMBIGUOUS):
        identity(ADMIN, (URI_NAME, SPIFFE), (URI_NAME, other))


@pytest.mark.parametrize(
    "alternative", [(DNS_NAME, b"example.org\0.evil"), (EMAIL_NAME, b"admin@example.org\0x")]
)
def test_a_control_character_in_any_name(alternative: tuple[int, bytes]) -> None:
    with refused(Reason.CERTIFICATE_MALFORMED):
        identity(ADMIN, alternative)


def test_a_workload_does_not_hide_a_bad_common_name() -> None:
    with refused(Reason.CERTIFICATE_MALFORMED):
        identity(subject(common_name(b"admin\0")), (URI_NAME, SPIFFE))


def test_alternative_names_in_two_places() -> None:
    pem = CRAFTING.with_names_twice(ADMIN, b"https://example.org").certificate.decode()
    with refused(Reason.CERTIFICATE_MALFORMED):
        certificate_identity(ssl.PEM_cert_to_DER_cert(pem))


def test_bytes_that_are_no_certificate() -> None:
    whole = ssl.PEM_cert_to_DER_cert(CRAFTING.caller(ADMIN).certificate.decode())
    for wrong in (b"", b"x", whole[:-1], whole + b"\0"):
        with refused(Reason.CERTIFICATE_MALFORMED):
            certificate_identity(wrong)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_every_prefix_and_every_changed_byte_is_read_or_refused() -> None:
    whole = ssl.PEM_cert_to_DER_cert(
        CRAFTING.caller(ADMIN, (URI_NAME, b"https://example.org")).certificate.decode()
    )
    for at in range(len(whole)):
        for flipped in (0x01, 0x20, 0x80, 0xFF):
            altered = bytearray(whole)
            altered[at] ^= flipped
            _read_or_refused(bytes(altered))
        _read_or_refused(whole[:at])


def _read_or_refused(der: bytes) -> None:
    """Anything but a refusal passes through and fails the test."""
    with suppress(SealgateError):
        found = certificate_identity(der)
        assert found is None or found.startswith(("mtls:", "spiffe:"))


def test_callers_read_their_own_certificate_as_the_gateway_does() -> None:
    plain = CertificateAuthority("callers", datetime.now(UTC), timedelta(days=1)).caller("anna")
    assert Access("x:1", certificate=plain.certificate).identities() == ("mtls:anna",)
    odd = CRAFTING.caller(subject(common_name(b"admin\0evil"))).certificate
    with refused(Reason.CERTIFICATE_MALFORMED):
        Access("x:1", certificate=odd).identities()
