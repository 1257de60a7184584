"""Versions' files are checked by a worker, one version after another, in a short queue."""

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from registry.formats import check_queue
from registry.formats.check_queue import FileChecks, check_in_worker
from registry.sandbox import process
from registry.storage.artifacts import FolderStore
from sealgate.reasons import Reason
from sealgate.trust.canonical import sha256
from sealgate.trust.statements import FileEntry, Manifest
from tests.support.builders.documents.people import refused
from tests.support.builders.protobuf import field
from tests.support.harness.registry import onnx_bytes, version_files

MANIFEST = Manifest.of(version_files())
SECONDS = 60.0


@pytest.fixture
def artifacts(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "artifacts")


def stored(artifacts: FolderStore, files: dict[str, bytes]) -> Manifest:
    for data in files.values():
        artifacts.put([data], len(data), sha256(data))
    return Manifest.of(files)


class TestWorker:
    def test_takes_files_of_the_accepted_formats(self, artifacts: FolderStore) -> None:
        check_in_worker(stored(artifacts, version_files()), artifacts)

    def test_takes_as_many_files_as_a_manifest_has(self, artifacts: FolderStore) -> None:
        files = {f"{number}.json": b"[%d]" % number for number in range(256)}
        check_in_worker(stored(artifacts, files), artifacts)

    def test_refuses_other_formats(self, artifacts: FolderStore) -> None:
        with refused(Reason.FORMAT_REFUSED):
            check_in_worker(stored(artifacts, {"model.onnx": b"hello"}), artifacts)

    @pytest.mark.parametrize("change", [b"", b"{} ", b"[]", b"{"])
    def test_refuses_bytes_that_were_altered(
        self, artifacts: FolderStore, tmp_path: Path, change: bytes
    ) -> None:
        manifest = stored(artifacts, {"model.json": b"{}"})
        path = next(path for path in tmp_path.rglob("*") if path.is_file())
        path.chmod(0o600)
        path.write_bytes(change)
        with refused(Reason.VERSION_ALTERED):
            check_in_worker(manifest, artifacts)

    def test_refuses_files_that_are_missing(self, artifacts: FolderStore) -> None:
        with refused(Reason.VERSION_ALTERED):
            check_in_worker(MANIFEST, artifacts)

    def test_refuses_what_takes_too_much_memory(self, artifacts: FolderStore) -> None:
        text = json.dumps(dict.fromkeys(map(str, range(1_000_000)))).encode()
        with refused(Reason.WORKER_LIMIT):
            check_in_worker(stored(artifacts, {"a.json": text}), artifacts)

    def test_parses_nothing_here(
        self, artifacts: FolderStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("registry.formats.format_check.check_source", None)
        packed = onnx_bytes() + field(7, field(5, field(7, b"\x01" * (32 << 20))))
        with refused(Reason.FORMAT_REFUSED):
            check_in_worker(stored(artifacts, {"model.onnx": packed}), artifacts)

    def test_that_is_killed_is_a_refusal(
        self, artifacts: FolderStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        start = process.start

        @contextmanager
        def killed(*words: object, **options: object) -> Iterator[process.Worker]:
            with start(*words, **options) as worker:
                os.kill(worker.process.pid, signal.SIGKILL)
                yield worker

        monkeypatch.setattr(process, "start", killed)
        with refused(Reason.WORKER_LIMIT):
            check_in_worker(stored(artifacts, version_files()), artifacts)


class Held:
    """A check that goes on until it is let go, and counts how many go on at once."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Semaphore(0), threading.Event()
        self.most = self._now = 0
        self._mutex = threading.Lock()

    def __call__(self, manifest: Manifest, artifacts: object) -> None:
        with self._mutex:
            self._now += 1
            self.most = max(self.most, self._now)
        self.begun.release()
        assert self.go.wait(SECONDS)
        with self._mutex:
            self._now -= 1


class TestQueue:
    @pytest.fixture
    def held(self) -> Iterator[Held]:
        held = Held()
        yield held
        held.go.set()

    @pytest.fixture
    def waiting(self, held: Held, artifacts: FolderStore) -> Iterator[Callable[..., FileChecks]]:
        """Starts checks of these principals, and returns when all hold their places."""
        threads: list[threading.Thread] = []

        def start(*principals: str, patience: float = SECONDS) -> FileChecks:
            checks = FileChecks(held, patience=patience)
            for name in principals:
                thread = threading.Thread(target=checks.run, args=(name, MANIFEST, artifacts))
                threads.append(thread)
                thread.start()
            assert held.begun.acquire(timeout=SECONDS)
            while checks.places < len(principals):
                assert all(thread.is_alive() for thread in threads)
            return checks

        yield start
        held.go.set()
        for thread in threads:
            thread.join()

    def test_has_one_check_after_another(self, held, waiting) -> None:
        waiting("a", "b", "c", "d")
        held.go.set()
        for _ in range(3):
            assert held.begun.acquire(timeout=SECONDS)
        assert held.most == 1

    def test_refuses_who_waits_too_long(self, waiting, artifacts: FolderStore) -> None:
        checks = waiting("a", patience=0.01)
        with refused(Reason.QUEUE_FULL):
            checks.run("b", MANIFEST, artifacts)

    def test_refuses_a_third_version_of_one_publisher(self, waiting, artifacts) -> None:
        checks = waiting("a", "a")
        with refused(Reason.QUEUE_FULL):
            checks.run("a", MANIFEST, artifacts)

    def test_refuses_more_than_a_few_of_all_publishers(self, waiting, artifacts) -> None:
        checks = waiting(*(f"p{number}" for number in range(check_queue.MOST_AT_ONCE)))
        with refused(Reason.QUEUE_FULL):
            checks.run("other", MANIFEST, artifacts)

    def test_has_room_again_after_a_refusal(self, artifacts: FolderStore) -> None:
        checks = FileChecks()
        for _ in range(check_queue.MOST_AT_ONCE + 1):
            with refused(Reason.VERSION_ALTERED):
                checks.run("a", Manifest((FileEntry("a.json", 2, sha256(b"{}")),)), artifacts)
        assert checks.places == 0
