"""The artifact store: only whole files, only the right bytes, no path from a caller's name."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.artifacts import ArtifactStore
from sealgate.reasons import Reason
from sealgate.trust.digest import sha256
from tests.support.people import refused

DATA = b"weights" * 1000
DIGEST = sha256(DATA)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "store", largest=len(DATA))


def files_in(store: ArtifactStore, tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "store").rglob("*") if path.is_file()]


def stored_file(tmp_path: Path) -> Path:
    return tmp_path / "store" / DIGEST[7:9] / DIGEST[9:]


def test_bytes_come_back(store: ArtifactStore) -> None:
    assert DIGEST not in store
    assert store.put([DATA[:10], b"", DATA[10:]], len(DATA), DIGEST) == DIGEST
    assert DIGEST in store
    assert store.read(DIGEST, len(DATA)) == DATA
    store.check(DIGEST, len(DATA))


def test_the_same_again(store: ArtifactStore, tmp_path: Path) -> None:
    store.put([DATA], len(DATA), DIGEST)
    store.put([DATA], len(DATA), DIGEST)
    assert files_in(store, tmp_path) == [stored_file(tmp_path)]


def test_storing_again_heals_a_damaged_file(store: ArtifactStore, tmp_path: Path) -> None:
    store.put([DATA], len(DATA), DIGEST)
    damage(tmp_path, b"?")
    store.put([DATA], len(DATA), DIGEST)
    assert store.read(DIGEST, len(DATA)) == DATA


def test_only_the_owner_can_read(store: ArtifactStore, tmp_path: Path) -> None:
    store.put([DATA], len(DATA), DIGEST)
    assert stored_file(tmp_path).stat().st_mode & 0o777 == 0o400
    assert (tmp_path / "store").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("chunks", "reason"),
    [
        ([DATA, b"!"], Reason.FILE_TOO_LARGE),
        ([DATA[:-1]], Reason.DIGEST_MISMATCH),
        ([DATA[:-1], b"!"], Reason.DIGEST_MISMATCH),
        ([], Reason.DIGEST_MISMATCH),
    ],
)
def test_other_bytes(
    store: ArtifactStore, tmp_path: Path, chunks: list[bytes], reason: Reason
) -> None:
    with refused(reason):
        store.put(chunks, len(DATA), DIGEST)
    assert files_in(store, tmp_path) == []


def test_a_stream_without_end_is_cut_off(store: ArtifactStore) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield DATA

    with refused(Reason.FILE_TOO_LARGE):
        store.put(endless(), len(DATA), DIGEST)


def test_more_than_the_store_takes(store: ArtifactStore) -> None:
    with refused(Reason.FILE_TOO_LARGE):
        store.put([DATA, b"!"], len(DATA) + 1, sha256(DATA + b"!"))


def test_a_stream_that_breaks_leaves_nothing(store: ArtifactStore, tmp_path: Path) -> None:
    def breaking() -> Iterator[bytes]:
        yield DATA[:10]
        raise RuntimeError("the caller has gone")

    with pytest.raises(RuntimeError):
        store.put(breaking(), len(DATA), DIGEST)
    assert files_in(store, tmp_path) == []


@pytest.mark.parametrize(
    "digest", ["", "../../etc/passwd", "sha256:../x", DIGEST.upper(), DIGEST + "/..", DIGEST[7:]]
)
def test_what_is_not_a_digest_reaches_no_file(store: ArtifactStore, digest: str) -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        store.put([DATA], len(DATA), digest)
    with refused(Reason.DOCUMENT_MALFORMED):
        store.read(digest, len(DATA))


def damage(tmp_path: Path, data: bytes) -> None:
    path = stored_file(tmp_path)
    path.chmod(0o600)
    path.write_bytes(data)


@pytest.mark.parametrize("data", [DATA[:-1], DATA[:-1] + b"!", DATA + b"!", b""])
def test_damaged_bytes(store: ArtifactStore, tmp_path: Path, data: bytes) -> None:
    store.put([DATA], len(DATA), DIGEST)
    damage(tmp_path, data)
    for ask in (store.read, store.check):
        with refused(Reason.VERSION_ALTERED):
            ask(DIGEST, len(DATA))


def test_a_missing_file(store: ArtifactStore) -> None:
    for ask in (store.read, store.check):
        with refused(Reason.VERSION_ALTERED):
            ask(DIGEST, len(DATA))


def test_a_link_in_a_file_s_place(store: ArtifactStore, tmp_path: Path) -> None:
    store.put([DATA], len(DATA), DIGEST)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(DATA)
    stored_file(tmp_path).unlink()
    os.symlink(elsewhere, stored_file(tmp_path))
    for ask in (store.read, store.check):
        with refused(Reason.VERSION_ALTERED):
            ask(DIGEST, len(DATA))


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"")
    with refused(Reason.REGISTRY_UNAVAILABLE):
        ArtifactStore(tmp_path / "store")


def test_a_folder_that_has_gone(store: ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "store").rename(tmp_path / "moved")
    with refused(Reason.REGISTRY_UNAVAILABLE):
        store.put([DATA], len(DATA), DIGEST)
