"""Uploads over connections that break, from a gateway that is killed, and by who may not."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from sealgate.reasons import Reason
from sealgate.remote import connect, facts_of, reason_of
from sealgate.remote.uploads import Uploader, UploadLimits
from sealgate.trust.keys import load_private_key
from sealgate.trust.statements import oms
from sealgate.v1 import upload_pb2 as messages
from sealgate.v1.upload_pb2_grpc import UploadServiceStub
from tests.support.builders.packages import expected, package, stored
from tests.support.harness.gateway import GatewayHarness, refusal, running
from tests.support.harness.network.relay import relay_to

pytestmark = pytest.mark.slow

MIB = 1 << 20
PATIENT = UploadLimits(attempts=100, first=0.05, longest=0.5)


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayHarness]:
    """A gateway of its own, without any model."""
    with running(tmp_path_factory.mktemp("resumed") / "state") as harness:
        yield harness


def test_cut_at_every_tenth_with_four_files_at_once(
    harness: GatewayHarness, tmp_path: Path
) -> None:
    sizes = (10 * MIB, 8 * MIB, 6 * MIB, 4 * MIB, 0, 1)
    sent = package(harness, tmp_path / "files", *sizes)
    tenths = [sum(sizes) * tenth // 10 for tenth in range(1, 11)]
    profile = harness.profile("publisher")
    with relay_to(profile.endpoint, tenths) as relay:
        through = replace(profile, endpoint=f"127.0.0.1:{relay.port}")
        seen: list[int] = []
        with connect(through) as channel:
            version = Uploader(
                channel, patience=PATIENT, progress=lambda done, total: seen.append(done)
            ).publish(sent)
        # The last tenth may be among the bytes that were not sent again.
        assert len(relay.cuts) <= 1
        # Bytes that the gateway had were not sent again; else the upload would never have ended.
        assert relay.sent < 3 * sum(sizes)
    assert stored(harness, version) == expected(sent)
    assert seen[-1] == sum(entry.size for entry in sent.manifest.files)
    assert os.listdir(harness.state / "uploads") == []


def test_a_version_that_is_uploaded_again_is_the_one_there(
    harness: GatewayHarness, tmp_path: Path
) -> None:
    sent = package(harness, tmp_path / "files", 1000)
    uploader = Uploader(harness.channel("publisher"))
    assert uploader.publish(sent) == uploader.publish(sent)
    # No two signatures by this scheme are alike.
    key = load_private_key(harness.profile("publisher").model_signing_key)
    other = replace(sent, signature=oms.sign(sent.manifest, key))
    assert refusal(uploader.publish, other) is Reason.VERSION_EXISTS
    unsigned = replace(sent, signature=b"{}")
    assert refusal(uploader.publish, unsigned) is Reason.DOCUMENT_MALFORMED


def serve(state: Path) -> subprocess.Popen[str]:
    """A gateway in a process of its own, once it answers."""
    words = [sys.executable, "-m", "sealgate.cli.main", "--state", str(state), "serve"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "mutual" in line:
            return process
    raise AssertionError("it ended")


def test_a_gateway_killed_in_the_middle(tmp_path: Path) -> None:
    harness = GatewayHarness(tmp_path / "state")
    gateway = serve(harness.state)
    try:
        sent = package(harness, tmp_path / "files", *[8 * MIB] * 4)
        half, killed = threading.Event(), threading.Event()

        def look(done: int, total: int) -> None:
            if done > total // 2:
                half.set()
                # Or the rest might come before the gateway is killed.
                killed.wait(60)

        versions = []
        with connect(harness.profile("publisher")) as channel:
            uploader = Uploader(channel, patience=PATIENT, progress=look)
            thread = threading.Thread(target=lambda: versions.append(uploader.publish(sent)))
            thread.start()
            assert half.wait(60)
            gateway.send_signal(signal.SIGKILL)
            gateway.wait()
            killed.set()
            spool = harness.state / "uploads"
            # The received bytes are there, of files under way or of stored ones.
            assert any(path.stat().st_size for path in spool.rglob("*.part")) or any(
                spool.rglob("*.stored")
            )
            gateway = serve(harness.state)
            thread.join(100)
        assert stored(harness, versions[0]) == expected(sent)
    finally:
        harness.stop()
        gateway.kill()
        gateway.wait()


def begun(harness: GatewayHarness, tmp_path: Path) -> tuple[UploadServiceStub, messages.Upload]:
    sent = package(harness, tmp_path / "files", 1000)
    stub = UploadServiceStub(harness.channel("publisher"))
    request = messages.CreateUploadRequest(model="resumed", manifest=sent.manifest.encode())
    return stub, stub.CreateUpload(request).upload


def parts(upload: messages.Upload, path: str, offset: int, *chunks: bytes):
    header = messages.UploadFileRequest.Header(name=upload.name, path=path, offset=offset)
    yield messages.UploadFileRequest(header=header)
    for chunk in chunks:
        yield messages.UploadFileRequest(chunk=chunk)


def test_refusals_and_their_reasons(harness: GatewayHarness, tmp_path: Path) -> None:
    stub, upload = begun(harness, tmp_path)
    path, size = upload.files[0].path, upload.files[0].size

    def reason(*words, name: str = upload.name) -> Reason:
        named = messages.Upload(name=name)
        return refusal(stub.UploadFile, parts(named, *words), timeout=60)

    assert stub.UploadFile(parts(upload, path, 0, b"{", b"}")).received == 2
    with pytest.raises(grpc.RpcError) as caught:
        stub.UploadFile(parts(upload, path, 7, b"x"))
    assert reason_of(caught.value) is Reason.UPLOAD_OFFSET
    assert facts_of(caught.value) == {"offset": "2"}
    assert reason(path, 2, bytes(size)) is Reason.FILE_TOO_LARGE
    assert reason("other.json", 0) is Reason.FILE_SURPLUS
    assert reason("../part", 0) is Reason.PATH_UNSAFE
    assert reason(path, 0, name="uploads/" + "0" * 32) is Reason.UPLOAD_UNKNOWN
    assert reason(path, 0, name="models/resumed") is Reason.NAME_MALFORMED
    assert reason(path, 2, bytes(size - 2)) is Reason.DIGEST_MISMATCH
    assert stub.GetUpload(messages.GetUploadRequest(name=upload.name)).upload.files[0].received == 0
    missing = messages.CreateVersionRequest(name=upload.name)
    assert refusal(stub.CreateVersion, missing, timeout=60) is Reason.FILE_MISSING
    stub.DeleteUpload(messages.DeleteUploadRequest(name=upload.name))
    gone = messages.GetUploadRequest(name=upload.name)
    assert refusal(stub.GetUpload, gone, timeout=60) is Reason.UPLOAD_UNKNOWN


def test_what_is_no_stream_of_a_file(harness: GatewayHarness, tmp_path: Path) -> None:
    stub, upload = begun(harness, tmp_path)
    header = next(parts(upload, upload.files[0].path, 0))
    chunk = messages.UploadFileRequest(chunk=b"x")
    for stream in ([], [chunk], [messages.UploadFileRequest()], [header, header]):
        assert refusal(stub.UploadFile, iter(stream), timeout=60) is Reason.DOCUMENT_MALFORMED
    stub.DeleteUpload(messages.DeleteUploadRequest(name=upload.name))
