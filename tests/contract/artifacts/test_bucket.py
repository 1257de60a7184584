"""An artifact store in a bucket: its addresses, and failures of the service."""

import threading
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from registry.storage import artifacts
from registry.storage.artifacts import Bucket
from sealgate.reasons import Reason
from sealgate.trust.canonical import sha256
from tests.contract.artifacts.conftest import BucketPlace
from tests.support.builders.documents.people import refused
from tests.support.harness.servers.bucket import CREDENTIALS
from tests.support.oracles import programs

DATA = b"weights"
DIGEST = sha256(DATA)


@pytest.fixture
def place(bucket_server) -> BucketPlace:
    from registry.storage.artifact_bucket import BucketStore

    bucket = bucket_server.bucket()
    return BucketPlace(bucket_server, bucket, BucketStore(bucket))


def open_bucket(bucket: Bucket):
    programs.package("obstore")
    from registry.storage.artifact_bucket import BucketStore

    return BucketStore(bucket)


def test_an_object_lies_under_the_prefix_and_its_digest(place):
    place.store.put([DATA], len(DATA), DIGEST)
    (found,) = place.server.client.list_objects_v2(Bucket=place.bucket.name)["Contents"]
    assert found["Key"] == f"models/v1/{DIGEST[7:9]}/{DIGEST[9:]}"


def test_two_prefixes_are_two_stores(place):
    place.store.put([DATA], len(DATA), DIGEST)
    other = open_bucket(replace(place.bucket, prefix="models/v2"))
    assert DIGEST not in other
    assert list(other.files()) == []


def test_copies_on_this_machine_leave_room_for_the_logs(place, monkeypatch):
    place.store.put([DATA], len(DATA), DIGEST)
    monkeypatch.setattr(artifacts, "KEPT_FREE", 1 << 62)
    with refused(Reason.STORAGE_FULL):
        place.store.put([DATA], len(DATA), DIGEST)
    with refused(Reason.STORAGE_FULL), place.store.open(DIGEST, len(DATA)):
        pass


def test_a_bucket_that_there_never_was(place):
    with refused(Reason.REGISTRY_UNAVAILABLE):
        open_bucket(replace(place.bucket, name="never-made"))


def test_a_service_that_does_not_answer():
    with refused(Reason.REGISTRY_UNAVAILABLE):
        open_bucket(Bucket("artifacts", "", "http://127.0.0.1:9", "us-east-1"))


def test_a_bucket_that_goes_makes_no_version_look_altered(place):
    place.store.put([DATA], len(DATA), DIGEST)
    place.break_down()
    for ask in (
        lambda: place.store.read(DIGEST, len(DATA)),
        lambda: place.store.check(DIGEST, len(DATA)),
        lambda: DIGEST in place.store,
    ):
        with refused(Reason.REGISTRY_UNAVAILABLE):
            ask()


class EndlessService(BaseHTTPRequestHandler):
    """Says that an object has as many bytes as it should, and sends others without end."""

    protocol_version = "HTTP/1.1"
    most = 1 << 30

    def do_HEAD(self):
        self._head(200, len(DATA))

    def do_GET(self):
        if "list-type" in self.path:
            listed = b"<ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated>"
            self._head(200, len(listed) + 19)
            self.wfile.write(listed + b"</ListBucketResult>")
            return
        self._head(206, self.most, f"bytes 0-{len(DATA) - 1}/{len(DATA)}")
        part, self.close_connection = bytes(1 << 20), True
        with suppress(OSError):
            while self.server.sent < self.most:  # type: ignore[attr-defined]
                self.wfile.write(part)
                self.server.sent += len(part)  # type: ignore[attr-defined]

    def log_message(self, *_):
        pass

    def _head(self, status, length, place=""):
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.send_header("ETag", '"x"')
        self.send_header("Last-Modified", "Sat, 28 Nov 2026 10:00:00 GMT")
        if place:
            self.send_header("Content-Range", place)
        self.end_headers()


@pytest.mark.parametrize("how", ["read", "check", "open"])
def test_more_bytes_than_were_asked_for_are_not_taken(how, monkeypatch):
    """A service that sends without end would fill the memory, or the disk."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    server = ThreadingHTTPServer(("127.0.0.1", 0), EndlessService)
    server.sent = 0  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        store = open_bucket(Bucket("b", "", f"http://127.0.0.1:{server.server_port}", "us-east-1"))
        with refused(Reason.VERSION_ALTERED):
            if how == "open":
                with store.open(DIGEST, len(DATA)):
                    pass
            else:
                getattr(store, how)(DIGEST, len(DATA))
        assert server.sent < EndlessService.most // 4  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()
