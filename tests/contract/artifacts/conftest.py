"""Both kinds of artifact store, each with a way to tamper with what lies in it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from registry.storage.artifacts import ArtifactStore, Bucket, FolderStore
from tests.support.harness.servers.bucket import BucketServer

LARGEST = 17 << 20


def _name(digest: str) -> str:
    return f"{digest[7:9]}/{digest[9:]}"


class Place(Protocol):
    """A store, and what somebody with rights to its insides can do."""

    store: ArtifactStore

    def write(self, name: str, data: bytes) -> None: ...
    def lose(self, name: str) -> None: ...
    def name(self, digest: str) -> str: ...
    def break_down(self) -> None: ...


@dataclass(frozen=True)
class FolderPlace:
    folder: Path
    store: ArtifactStore

    def write(self, name: str, data: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(data)

    def lose(self, name: str) -> None:
        (self.folder / name).unlink()

    def name(self, digest: str) -> str:
        return _name(digest)

    def break_down(self) -> None:
        self.folder.rename(self.folder.with_name("moved"))


@dataclass(frozen=True)
class BucketPlace:
    server: BucketServer
    bucket: Bucket
    store: ArtifactStore

    def write(self, name: str, data: bytes) -> None:
        self.server.client.put_object(Bucket=self.bucket.name, Key=self._key(name), Body=data)

    def lose(self, name: str) -> None:
        self.server.client.delete_object(Bucket=self.bucket.name, Key=self._key(name))

    def name(self, digest: str) -> str:
        return _name(digest)

    def break_down(self) -> None:
        for file in list(self.store.files()):
            self.lose(_name(file.digest))
        self.server.client.delete_bucket(Bucket=self.bucket.name)

    def _key(self, name: str) -> str:
        return f"{self.bucket.prefix}/{name}"


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty store that takes files of up to LARGEST bytes."""
    if request.param == "folder":
        folder = tmp_path / "artifacts"
        return FolderPlace(folder, FolderStore(folder, largest=LARGEST))
    server: BucketServer = request.getfixturevalue("bucket_server")
    from registry.storage.artifact_bucket import BucketStore

    bucket = server.bucket()
    return BucketPlace(server, bucket, BucketStore(bucket, largest=LARGEST))
