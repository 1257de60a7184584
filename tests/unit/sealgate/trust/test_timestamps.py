"""Time stamps: of a real authority, of `openssl ts`, and altered ones, each with its reason."""

import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from sealgate.reasons import Reason, SealgateError
from sealgate.trust.times import format_time
from sealgate.trust.timestamps import LARGEST_STAMP, Timestamp, TimestampAuthority
from tests.support.builders.documents.people import refused
from tests.support.harness.servers.timestamp_authority import POLICY, LocalAuthority
from tests.support.oracles.programs import program

VECTORS = json.loads((Path(__file__).parents[3] / "vectors" / "timestamps.json").read_text())
NOTE = "house.localhost/registry\n42\nAAAA\n\n\u2014 house.localhost/registry AAAA\n"
REJECTED = bytes.fromhex("30053003020102")


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> LocalAuthority:
    return LocalAuthority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def authority(local: LocalAuthority) -> TimestampAuthority:
    return TimestampAuthority(local.certificates, POLICY)


@pytest.fixture(scope="module")
def stamp(local: LocalAuthority, authority: TimestampAuthority) -> bytes:
    return local.reply(authority.request(NOTE).data)


def test_a_stamp_of_openssl_tells_the_time(
    local: LocalAuthority, authority: TimestampAuthority, tmp_path: Path
) -> None:
    request = authority.request(NOTE)
    made = Timestamp(NOTE, local.reply(request.data))
    time = authority.verify(made, request.nonce)
    assert abs(time - datetime.now(UTC)) < timedelta(minutes=1)
    # And by the program alone, from the two files.
    (tmp_path / "note").write_bytes(NOTE.encode())
    (tmp_path / "stamp").write_bytes(made.stamp)
    words = ["ts", "-verify", "-data", "note", "-in", "stamp", "-CAfile", local.folder / "ca.pem"]
    done = subprocess.run(
        [program("openssl"), *words], cwd=tmp_path, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("vector", VECTORS["stamps"], ids=lambda vector: vector["name"])
def test_stamps_of_a_real_authority(vector: dict[str, str]) -> None:
    authority = TimestampAuthority(VECTORS["certificates"].encode())
    made = Timestamp(VECTORS["message"], bytes.fromhex(vector["data"]))
    if not vector["reason"]:
        assert format_time(authority.verify(made)) == VECTORS["time"]
        return
    with refused(Reason[vector["reason"]]):
        authority.verify(made)


def replaced(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def change(stamp: bytes) -> bytes:
        assert old in stamp
        return stamp.replace(old, new)

    return change


YEAR = datetime.now(UTC).strftime("%Y").encode()
IMPRINT = sha256(NOTE.encode()).digest()
ALTERED = {
    "nothing": (lambda stamp: b"", Reason.DOCUMENT_MALFORMED),
    "no stamp": (lambda stamp: b"a time stamp", Reason.DOCUMENT_MALFORMED),
    "cut short": (lambda stamp: stamp[:-1], Reason.DOCUMENT_MALFORMED),
    "more behind it": (lambda stamp: stamp + b"\0", Reason.DOCUMENT_MALFORMED),
    "too long": (lambda stamp: bytes(LARGEST_STAMP + 1), Reason.DOCUMENT_MALFORMED),
    "not granted": (lambda stamp: REJECTED, Reason.TIMESTAMP_REFUSED),
    "another time": (replaced(b"\x18\x0f" + YEAR, b"\x18\x0f2020"), Reason.SIGNATURE_INVALID),
    "other bytes": (replaced(IMPRINT, bytes(32)), Reason.TIMESTAMP_MISMATCH),
    "another signature": (
        lambda stamp: stamp[:-1] + bytes([stamp[-1] ^ 1]),
        Reason.SIGNATURE_INVALID,
    ),
    "another certificate": (replaced(b"\x03TSA", b"\x03TSB"), Reason.SIGNATURE_INVALID),
}


@pytest.mark.parametrize(("change", "reason"), ALTERED.values(), ids=ALTERED)
def test_altered_stamps_are_refused(
    authority: TimestampAuthority,
    stamp: bytes,
    change: Callable[[bytes], bytes],
    reason: Reason,
) -> None:
    with refused(reason):
        authority.verify(Timestamp(NOTE, change(stamp)))


def test_a_certificate_of_an_unknown_version_is_refused() -> None:
    """The pinned certificates vouch for the signature, so the one inside is read without trust."""
    data = bytes.fromhex(VECTORS["stamps"][0]["data"])
    changed = replaced(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x03")(data)
    with refused(Reason.SIGNATURE_INVALID):
        authority = TimestampAuthority(VECTORS["certificates"].encode())
        authority.verify(Timestamp(VECTORS["message"], changed))


def test_no_flipped_bit_gives_another_time(authority: TimestampAuthority, stamp: bytes) -> None:
    """CMS leaves a few bytes unsigned, such as the versions of its structures."""
    time, refusals = authority.verify(Timestamp(NOTE, stamp)), 0
    for bit in range(0, 8 * len(stamp), 3):
        flipped = bytearray(stamp)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            assert authority.verify(Timestamp(NOTE, bytes(flipped))) == time
        except SealgateError:
            refusals += 1
    assert refusals > 8 * len(stamp) / 3 * 0.95


def test_a_stamp_is_for_one_request_under_one_policy(
    local: LocalAuthority, authority: TimestampAuthority, stamp: bytes, tmp_path: Path
) -> None:
    with refused(Reason.TIMESTAMP_MISMATCH):
        authority.verify(Timestamp(NOTE + "more\n", stamp))
    with refused(Reason.TIMESTAMP_MISMATCH):
        authority.verify(Timestamp(NOTE, stamp), nonce=1)
    with refused(Reason.TIMESTAMP_MISMATCH):
        TimestampAuthority(local.certificates, "1.2.3.4.2").verify(Timestamp(NOTE, stamp))
    other = TimestampAuthority(LocalAuthority(tmp_path / "other").certificates)
    with refused(Reason.SIGNATURE_INVALID):
        other.verify(Timestamp(NOTE, stamp))


def test_a_certificate_that_was_not_valid_then_vouches_for_nothing(tmp_path: Path) -> None:
    local = LocalAuthority(tmp_path / "expired", days=(-3, -1))
    authority = TimestampAuthority(local.certificates)
    made = Timestamp(NOTE, local.reply(authority.request(NOTE).data))
    with refused(Reason.SIGNATURE_INVALID):
        authority.verify(made)


@pytest.mark.parametrize(("certificates", "policy"), [(b"none", ""), (None, "no policy")])
def test_an_authority_is_pinned_by_certificates_and_a_policy(
    local: LocalAuthority, certificates: bytes | None, policy: str
) -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        TimestampAuthority(certificates or local.certificates, policy)
