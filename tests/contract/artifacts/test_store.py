"""The contract of every artifact store: only whole files and only the right bytes."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from sealgate.reasons import Reason
from sealgate.trust.canonical import sha256
from tests.support.builders.documents.people import refused

DATA = b"weights!" * 1000
DIGEST = sha256(DATA)
LARGE = bytes(range(256)) * (65 << 10)
HOUR = timedelta(hours=1)


def now() -> datetime:
    return datetime.now(UTC)


def digests(place) -> list[str]:
    return [file.digest for file in place.store.files()]


@pytest.mark.parametrize("data", [b"", b"x", DATA, LARGE], ids=["none", "one", "small", "large"])
def test_bytes_come_back(place, data):
    digest, store = sha256(data), place.store
    assert digest not in store
    assert store.put([data[:10], b"", data[10:]], len(data), digest) == digest
    assert digest in store
    assert store.read(digest, len(data)) == data
    store.check(digest, len(data))
    (file,) = store.files()
    assert (file.digest, file.size) == (digest, len(data))
    assert abs(file.put - now()) < HOUR


@pytest.mark.parametrize(
    ("chunks", "reason"),
    [
        ([DATA, b"!"], Reason.FILE_TOO_LARGE),
        ([DATA[:-1]], Reason.DIGEST_MISMATCH),
        ([DATA[:-1], b"?"], Reason.DIGEST_MISMATCH),
        ([], Reason.DIGEST_MISMATCH),
    ],
)
def test_other_bytes_do_not_come_in(place, chunks, reason):
    with refused(reason):
        place.store.put(chunks, len(DATA), DIGEST)
    assert digests(place) == []


@pytest.mark.parametrize("tenth", range(10))
def test_an_upload_cut_at_a_tenth_leaves_nothing(place, tenth):
    def breaking() -> Iterator[bytes]:
        for start in range(tenth):
            yield DATA[start * 800 : (start + 1) * 800]
        raise RuntimeError("the caller has gone")

    with pytest.raises(RuntimeError):
        place.store.put(breaking(), len(DATA), DIGEST)
    assert digests(place) == []
    assert place.store.sweep(now() + HOUR, dry_run=False) == 0


def test_a_stream_without_end_is_cut_off(place):
    def endless() -> Iterator[bytes]:
        while True:
            yield DATA

    with refused(Reason.FILE_TOO_LARGE):
        place.store.put(endless(), len(DATA), DIGEST)


def test_more_than_the_store_takes(place):
    with refused(Reason.FILE_TOO_LARGE):
        place.store.put([DATA], (17 << 20) + 1, DIGEST)


@pytest.mark.parametrize("data", [DATA[:-1], DATA[:-1] + b"?", DATA + b"!", b""])
def test_altered_bytes_do_not_come_out_and_storing_again_heals(place, data):
    store = place.store
    store.put([DATA], len(DATA), DIGEST)
    place.write(place.name(DIGEST), data)
    for ask in (store.read, store.check):
        with refused(Reason.VERSION_ALTERED):
            ask(DIGEST, len(DATA))
    store.put([DATA], len(DATA), DIGEST)
    assert store.read(DIGEST, len(DATA)) == DATA


def test_a_part_of_a_large_file_altered(place):
    digest = sha256(LARGE)
    place.store.put([LARGE], len(LARGE), digest)
    place.write(place.name(digest), LARGE[:-1] + b"?")
    for ask in (place.store.read, place.store.check):
        with refused(Reason.VERSION_ALTERED):
            ask(digest, len(LARGE))


def test_a_missing_file(place):
    for ask in (place.store.read, place.store.check):
        with refused(Reason.VERSION_ALTERED):
            ask(DIGEST, len(DATA))


@pytest.mark.parametrize(
    "digest", ["", "../../etc/passwd", "sha256:../x", DIGEST.upper(), DIGEST + "/..", DIGEST[7:]]
)
def test_what_is_not_a_digest(place, digest):
    store = place.store
    for ask in (
        lambda: store.put([DATA], len(DATA), digest),
        lambda: store.read(digest, len(DATA)),
        lambda: store.check(digest, len(DATA)),
        lambda: digest in store,
        lambda: store.remove(digest, now() + HOUR),
    ):
        with refused(Reason.DOCUMENT_MALFORMED):
            ask()


def test_a_store_that_has_gone(place):
    store = place.store
    store.put([DATA], len(DATA), DIGEST)
    place.break_down()
    with refused(Reason.REGISTRY_UNAVAILABLE):
        store.put([DATA], len(DATA), DIGEST)
    with refused(Reason.REGISTRY_UNAVAILABLE):
        list(store.files())


def test_only_what_is_old_enough_is_removed(place):
    store = place.store
    store.put([DATA], len(DATA), DIGEST)
    assert not store.remove(DIGEST, now() - HOUR)
    assert DIGEST in store
    assert store.remove(DIGEST, now() + HOUR)
    assert DIGEST not in store
    assert not store.remove(DIGEST, now() + HOUR)


def test_putting_again_makes_a_file_new(place):
    store = place.store
    store.put([DATA], len(DATA), DIGEST)
    # One of the protocols counts whole seconds.
    time.sleep(1.1)
    between = now() - timedelta(seconds=0.05)
    time.sleep(1.0)
    store.put([DATA], len(DATA), DIGEST)
    assert not store.remove(DIGEST, between)


def test_what_is_named_otherwise_is_not_ours(place):
    place.write("readme.txt", b"by hand")
    place.write("ab/cd", b"by hand")
    assert digests(place) == []


def test_the_same_file_from_many_at_once(place):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: place.store.put([DATA], len(DATA), DIGEST), range(16)))
    assert digests(place) == [DIGEST]
    assert place.store.read(DIGEST, len(DATA)) == DATA
