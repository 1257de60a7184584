"""Resumable uploads: what is refused and why, and what a break leaves, on both stores."""

import errno
import itertools
import os
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from registry.state.records import VersionRecord
from registry.storage import artifacts
from registry.storage.artifact_bucket import BucketStore
from registry.uploads.open_uploads import LIFETIME, MOST_OPEN, OpenUpload, OpenUploads
from registry.uploads.spool import Spool
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.statements import Manifest, oms
from tests.support.builders.documents.people import p256_key, refused
from tests.support.harness.registry import RegistryHarness, version_files

FILES = {
    **version_files(),
    "weights.safetensors": save({"w": np.arange(30_000, dtype=np.float32)}),
}
BIG = "weights.safetensors"
DATA = FILES[BIG]
MANIFEST = Manifest.of(FILES)


@pytest.fixture(params=["folder", "bucket"])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RegistryHarness]:
    harness = RegistryHarness(tmp_path, f"sqlite:///{tmp_path}/registry.db").found()
    if request.param == "bucket":
        harness.artifacts = BucketStore(request.getfixturevalue("bucket_server").bucket())
        harness.reopen()
    yield harness
    harness.registry.close()


@pytest.fixture
def uploads(harness: RegistryHarness) -> OpenUploads:
    return opened(harness)


def opened(harness: RegistryHarness) -> OpenUploads:
    """The uploads as a gateway has them that has just started."""
    numbers = itertools.count(1)
    return OpenUploads(
        harness.registry.versions,
        harness.artifacts,
        Spool(harness.folder / "uploads"),
        harness.clock,
        lambda: f"{next(numbers):032x}",
    )


def begun(uploads: OpenUploads, principal: str = "paula") -> OpenUpload:
    return uploads.create(principal, "digits", MANIFEST.encode())


def received(uploads: OpenUploads, upload: OpenUpload) -> dict[str, int]:
    again = uploads.get(upload.principal, upload.name)
    paths = [entry.path for entry in again.manifest.files]
    return dict(zip(paths, again.received, strict=True))


def send_rest(uploads: OpenUploads, upload: OpenUpload) -> None:
    for path, at in received(uploads, upload).items():
        uploads.receive(upload, path, at, [FILES[path][at:]])


def register(harness: RegistryHarness, uploads: OpenUploads, upload: OpenUpload) -> VersionRecord:
    signature = oms.sign(MANIFEST, p256_key("paula"))
    return uploads.register(upload, signature, [harness.evidence(MANIFEST)], harness.commitment())


def broken(data: bytes) -> Iterator[bytes]:
    """A stream that breaks off after these bytes."""
    yield data
    raise SealgateError(Reason.DEADLINE_TOO_SHORT, "the call ended before its request")


def test_cut_at_every_tenth_by_a_gateway_that_restarts_each_time(harness: RegistryHarness) -> None:
    for tenth in range(1, 10):
        uploads = opened(harness)
        upload = begun(uploads)
        at = received(uploads, upload)[BIG]
        assert at == len(DATA) * (tenth - 1) // 10
        with refused(Reason.DEADLINE_TOO_SHORT):
            uploads.receive(upload, BIG, at, broken(DATA[at : len(DATA) * tenth // 10]))
    uploads = opened(harness)
    upload = begun(uploads)
    send_rest(uploads, upload)
    version = register(harness, uploads, upload)
    for path, data in FILES.items():
        assert harness.registry.versions.read_file("digits", version.version, path) == data
    with refused(Reason.UPLOAD_UNKNOWN):
        uploads.get("paula", upload.name)
    assert os.listdir(harness.folder / "uploads") == []


def test_bytes_elsewhere_than_where_the_file_stands(uploads: OpenUploads) -> None:
    upload = begun(uploads)
    uploads.receive(upload, BIG, 0, [DATA[:100]])
    for offset in (-1, 0, 99, 101, len(DATA)):
        with pytest.raises(SealgateError) as caught:
            uploads.receive(upload, BIG, offset, [])
        assert caught.value.reason is Reason.UPLOAD_OFFSET
        assert caught.value.facts == {"offset": "100"}
    assert uploads.receive(upload, BIG, 100, [DATA[100:]]) == len(DATA)
    with pytest.raises(SealgateError) as caught:
        uploads.receive(upload, BIG, 0, [DATA])
    assert caught.value.facts == {"offset": str(len(DATA))}
    # A client that missed the end of its upload asks again.
    assert uploads.receive(upload, BIG, len(DATA), []) == len(DATA)


def test_more_than_the_manifest_says(uploads: OpenUploads) -> None:
    upload = begun(uploads)
    with refused(Reason.FILE_TOO_LARGE):
        uploads.receive(upload, BIG, 0, [DATA[:100], DATA[100:] + b"!"])
    assert received(uploads, upload)[BIG] == 100
    with refused(Reason.FILE_TOO_LARGE):
        uploads.receive(upload, BIG, 1 << 62, [b"!"])
    send_rest(uploads, upload)
    with refused(Reason.FILE_TOO_LARGE):
        uploads.receive(upload, BIG, len(DATA), [b"!"])


def test_other_bytes_are_to_be_sent_from_the_beginning(uploads: OpenUploads) -> None:
    upload = begun(uploads)
    uploads.receive(upload, BIG, 0, [bytes(100)])
    with refused(Reason.DIGEST_MISMATCH):
        uploads.receive(upload, BIG, 100, [DATA[100:]])
    assert received(uploads, upload)[BIG] == 0
    send_rest(uploads, upload)


def test_a_file_that_the_manifest_does_not_name(uploads: OpenUploads) -> None:
    with refused(Reason.FILE_SURPLUS):
        uploads.receive(begun(uploads), "other.json", 0, [])


def test_files_that_are_missing(harness: RegistryHarness, uploads: OpenUploads) -> None:
    upload = begun(uploads)
    uploads.receive(upload, BIG, 0, [DATA])
    with refused(Reason.FILE_MISSING):
        register(harness, uploads, upload)
    send_rest(uploads, upload)
    # As a collector would in an upload of days.
    harness.artifacts.remove(MANIFEST.entry(BIG).digest, harness.now + timedelta(days=999))
    with refused(Reason.FILE_MISSING):
        register(harness, uploads, upload)
    assert received(uploads, upload)[BIG] == 0
    send_rest(uploads, upload)
    assert register(harness, uploads, upload).version == 1


def test_somebody_else_s_upload(uploads: OpenUploads) -> None:
    upload = begun(uploads)
    with refused(Reason.UPLOAD_FOREIGN):
        uploads.get("peter", upload.name)
    # The same files are another upload for another principal.
    assert begun(uploads, "peter").name != upload.name


@pytest.mark.parametrize("name", ["f" * 32, "../uploads", "", ".", "F" * 32, "0" * 31 + "\n"])
def test_an_upload_that_there_is_not(uploads: OpenUploads, name: str) -> None:
    begun(uploads)
    with refused(Reason.UPLOAD_UNKNOWN):
        uploads.get("paula", name)


def test_one_that_is_given_up(harness: RegistryHarness, uploads: OpenUploads) -> None:
    upload = begun(uploads)

    def chunks() -> Iterator[bytes]:
        yield DATA[:100]
        uploads.remove(upload)
        yield DATA[100:]

    with refused(Reason.UPLOAD_UNKNOWN):
        uploads.receive(upload, BIG, 0, chunks())
    with refused(Reason.UPLOAD_UNKNOWN):
        uploads.get("paula", upload.name)
    assert received(uploads, begun(uploads))[BIG] == 0


def test_a_few_at_a_time(harness: RegistryHarness, uploads: OpenUploads) -> None:
    def begin(number: int) -> OpenUpload:
        other = Manifest.of({**FILES, "model.json": b"%d" % number})
        return uploads.create("paula", "digits", other.encode())

    first = begin(0)
    for number in range(1, MOST_OPEN):
        begin(number)
    with refused(Reason.UPLOADS_TOO_MANY):
        begin(MOST_OPEN)
    # The same files are the same upload, and others have their own.
    assert begin(0).name == first.name
    begun(uploads, "peter")
    uploads.remove(first)
    begin(MOST_OPEN)


def test_one_that_nobody_touches_ends(harness: RegistryHarness, uploads: OpenUploads) -> None:
    upload = begun(uploads)
    harness.now += LIFETIME - timedelta(seconds=1)
    assert uploads.sweep() == 0
    uploads.receive(upload, BIG, 0, [DATA[:100]])
    harness.now += LIFETIME - timedelta(seconds=1)
    assert received(uploads, upload)[BIG] == 100
    harness.now += timedelta(seconds=1)
    with refused(Reason.UPLOAD_UNKNOWN):
        uploads.get("paula", upload.name)
    assert received(uploads, begun(uploads))[BIG] == 0
    assert len(os.listdir(harness.folder / "uploads")) == 1


def test_what_a_killed_process_left_is_removed(
    harness: RegistryHarness, uploads: OpenUploads
) -> None:
    for name in (f".{1:032x}", f".{2:032x}.gone"):
        (harness.folder / "uploads" / name).mkdir()
    (harness.folder / "uploads" / "lost+found").mkdir()
    upload = begun(uploads)
    assert sorted(os.listdir(harness.folder / "uploads")) == [upload.name, "lost+found"]


def test_of_two_writers_of_a_file_the_one_behind_is_refused(uploads: OpenUploads) -> None:
    upload = begun(uploads)

    def chunks() -> Iterator[bytes]:
        yield DATA[:100]
        # Somebody who connected anew goes on meanwhile; this one was only slow.
        uploads.receive(upload, BIG, 100, [DATA[100:200]])
        yield DATA[100:]

    with pytest.raises(SealgateError) as caught:
        uploads.receive(upload, BIG, 0, chunks())
    assert caught.value.reason is Reason.UPLOAD_OFFSET
    assert caught.value.facts == {"offset": "200"}
    send_rest(uploads, upload)


def test_many_writers_of_a_file_at_once(harness: RegistryHarness, uploads: OpenUploads) -> None:
    upload = begun(uploads)
    unexpected: list[BaseException] = []

    def write() -> None:
        own = opened(harness)
        try:
            at = 0
            while at < len(DATA):
                try:
                    at = own.receive(upload, BIG, at, [DATA[at : at + 5000]])
                except SealgateError as refusal:
                    # Any other reason has no offset, and fails here.
                    at = int(refusal.facts["offset"])
        except BaseException as error:
            unexpected.append(error)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not unexpected
    assert harness.artifacts.read(MANIFEST.entry(BIG).digest, len(DATA)) == DATA


def test_uploads_leave_space_for_what_is_recorded(
    uploads: OpenUploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = begun(uploads)
    monkeypatch.setattr(artifacts, "KEPT_FREE", 1 << 62)
    with refused(Reason.STORAGE_FULL):
        uploads.receive(upload, BIG, 0, [DATA])
    monkeypatch.undo()
    assert received(uploads, upload)[BIG] == 0
    send_rest(uploads, upload)


def test_a_disk_that_is_full(uploads: OpenUploads, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = begun(uploads)
    write = os.write

    def write_half(descriptor: int, data: bytes) -> int:
        if len(data) < 100:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, bytes(data)[: len(data) // 2])

    monkeypatch.setattr(os, "write", write_half)
    with refused(Reason.STORAGE_FULL):
        uploads.receive(upload, BIG, 0, [DATA])
    monkeypatch.undo()
    assert 0 < received(uploads, upload)[BIG] < len(DATA)
    send_rest(uploads, upload)
