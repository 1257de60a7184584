"""The artifact store in a folder: what holds besides what every store does (`tests/contract`)."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from registry.storage import artifacts
from registry.storage.artifacts import SYNC_BYTES, FolderStore
from sealgate.reasons import Reason
from sealgate.trust.canonical import sha256
from tests.support.builders.documents.people import refused

DATA = b"weights" * 1000
DIGEST = sha256(DATA)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store", largest=len(DATA))


def files_in(store: FolderStore, tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "store").rglob("*") if path.is_file()]


def stored_file(tmp_path: Path) -> Path:
    return tmp_path / "store" / DIGEST[7:9] / DIGEST[9:]


def test_the_same_again(store: FolderStore, tmp_path: Path) -> None:
    store.put([DATA], len(DATA), DIGEST)
    store.put([DATA], len(DATA), DIGEST)
    assert files_in(store, tmp_path) == [stored_file(tmp_path)]


def test_a_large_file_goes_to_the_disk_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    written = SimpleNamespace(**vars(os))
    written.fdatasync = lambda file: sizes.append(os.fstat(file).st_size)
    monkeypatch.setattr(artifacts, "os", written)
    data, store = bytes(SYNC_BYTES * 5 // 2), FolderStore(tmp_path / "store")
    chunks = [data[at : at + SYNC_BYTES // 4] for at in range(0, len(data), SYNC_BYTES // 4)]
    store.put(chunks, len(data), sha256(data))
    assert sizes == [SYNC_BYTES, 2 * SYNC_BYTES]
    assert store.read(sha256(data), len(data)) == data


def test_files_leave_space_for_what_is_recorded(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An uploader could otherwise stop all answers and revocations by filling the disk."""
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    monkeypatch.setattr(artifacts, "KEPT_FREE", 2 * free)
    with refused(Reason.STORAGE_FULL):
        store.put([DATA], len(DATA), DIGEST)
    assert not files_in(store, tmp_path)
    monkeypatch.undo()
    store.put([DATA], len(DATA), DIGEST)


def test_a_file_that_grows_leaves_space_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, data = FolderStore(tmp_path / "store"), bytes(SYNC_BYTES * 5 // 2)

    def chunks() -> Iterator[bytes]:
        for at in range(0, len(data), SYNC_BYTES):
            yield data[at : at + SYNC_BYTES]
            # Somebody else fills the disk meanwhile.
            monkeypatch.setattr(artifacts, "KEPT_FREE", 1 << 62)

    with refused(Reason.STORAGE_FULL):
        store.put(chunks(), len(data), sha256(data))
    assert not files_in(store, tmp_path)


def test_only_the_owner_can_read(store: FolderStore, tmp_path: Path) -> None:
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
    store: FolderStore, tmp_path: Path, chunks: list[bytes], reason: Reason
) -> None:
    with refused(reason):
        store.put(chunks, len(DATA), DIGEST)
    assert files_in(store, tmp_path) == []


def test_a_stream_that_breaks_leaves_nothing(store: FolderStore, tmp_path: Path) -> None:
    def breaking() -> Iterator[bytes]:
        yield DATA[:10]
        raise RuntimeError("the caller has gone")

    with pytest.raises(RuntimeError):
        store.put(breaking(), len(DATA), DIGEST)
    assert files_in(store, tmp_path) == []


def test_a_link_in_a_file_s_place(store: FolderStore, tmp_path: Path) -> None:
    store.put([DATA], len(DATA), DIGEST)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(DATA)
    stored_file(tmp_path).unlink()
    os.symlink(elsewhere, stored_file(tmp_path))
    for ask in (store.read, store.check):
        with refused(Reason.VERSION_ALTERED):
            ask(DIGEST, len(DATA))


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_pipe_or_folder_in_a_file_s_place(
    store: FolderStore, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    store.put([DATA], len(DATA), DIGEST)
    stored_file(tmp_path).unlink()
    make(stored_file(tmp_path))
    for ask in (store.read, store.check):
        with refused(Reason.VERSION_ALTERED):
            ask(DIGEST, len(DATA))
    with refused(Reason.VERSION_ALTERED), store.open(DIGEST, len(DATA)):
        pass


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"")
    with refused(Reason.REGISTRY_UNAVAILABLE):
        FolderStore(tmp_path / "store")


def test_a_folder_that_has_gone(store: FolderStore, tmp_path: Path) -> None:
    (tmp_path / "store").rename(tmp_path / "moved")
    with refused(Reason.REGISTRY_UNAVAILABLE):
        store.put([DATA], len(DATA), DIGEST)
