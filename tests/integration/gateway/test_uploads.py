"""Uploads: a stream of named files, of which nothing unsafe, missing or altered is taken in."""

import pickle
import threading

import pytest

from sealgate.reasons import Reason
from sealgate.trust.keys import load_private_key
from sealgate.trust.statements import Manifest, oms
from sealgate.v1 import registry_pb2 as messages
from sealgate.v1 import upload_pb2
from sealgate.v1.upload_pb2_grpc import UploadServiceStub
from tests.support.builders.models.onnx_models import with_external_data
from tests.support.builders.packages import commit
from tests.support.harness.gateway import refusal


@pytest.fixture(scope="module")
def published(harness):
    """Header and files of digits 1, as its publisher sent them, for a model of no versions."""
    registry = harness.registry("publisher")
    registry.CreateModel(messages.CreateModelRequest(model="uploads"))
    name = "models/digits/versions/1"
    version = registry.GetVersion(messages.GetVersionRequest(name=name)).version
    header = messages.UploadVersionRequest.Header(
        model="uploads",
        manifest=version.manifest,
        signature=version.signature,
        evidence=version.evidence,
        commitment="sha256:" + "0" * 64,
    )
    files = {}
    for entry in Manifest.decode(version.manifest).files:
        request = messages.DownloadFileRequest(name=name, path=entry.path)
        files[entry.path] = b"".join(part.chunk for part in registry.DownloadFile(request))
    return header, files


def upload(harness, header, files):
    def parts():
        yield messages.UploadVersionRequest(header=header)
        for path, data in files:
            yield messages.UploadVersionRequest(file=path)
            yield messages.UploadVersionRequest(chunk=data)

    return refusal(harness.registry("publisher").UploadVersion, parts(), timeout=60)


def test_the_same_bytes_are_registered_once(harness, published):
    header, files = published
    again = messages.UploadVersionRequest.Header()
    again.CopyFrom(header)
    again.model = "digits"
    assert upload(harness, again, files.items()) is Reason.VERSION_EXISTS


def test_a_mark_that_was_never_committed(harness, published):
    header, files = published
    assert upload(harness, header, files.items()) is Reason.COMMITMENT_UNKNOWN


def test_a_model_that_nobody_made(harness, published):
    header, files = published
    other = messages.UploadVersionRequest.Header()
    other.CopyFrom(header)
    other.model = "unmade"
    assert upload(harness, other, files.items()) is Reason.MODEL_UNKNOWN


@pytest.mark.parametrize(
    "path", ["../model.onnx", "/etc/passwd", "a/b.onnx", "..", "", "a\\b", "a\x00b", ".hidden"]
)
def test_paths_that_are_not_plain_names(harness, published, path):
    header, files = published
    assert upload(harness, header, [*files.items(), (path, b"x")]) is Reason.PATH_UNSAFE


def test_a_duplicate_name(harness, published):
    header, files = published
    first = next(iter(files.items()))
    assert upload(harness, header, [*files.items(), first]) is Reason.FILE_DUPLICATE


def test_a_file_that_the_manifest_does_not_name(harness, published):
    header, files = published
    assert upload(harness, header, [*files.items(), ("extra.json", b"{}")]) is Reason.FILE_SURPLUS


def test_a_missing_file(harness, published):
    header, files = published
    assert upload(harness, header, list(files.items())[1:]) is Reason.FILE_MISSING


def test_a_wrong_digest(harness, published):
    header, files = published
    altered = {path: bytes([data[0] ^ 1]) + data[1:] for path, data in files.items()}
    assert upload(harness, header, altered.items()) is Reason.DIGEST_MISMATCH


def test_more_bytes_than_the_manifest_says(harness, published):
    header, files = published
    longer = {path: data + b"x" for path, data in files.items()}
    assert upload(harness, header, longer.items()) is Reason.FILE_TOO_LARGE


def with_graph(harness, published, graph):
    """Header and files whose manifest names another INT8 graph, signed by their publisher."""
    header, files = published
    changed = {**files, "model.int8.onnx": graph}
    manifest = Manifest.of(changed)
    key = load_private_key(harness.profile("publisher").model_signing_key)
    other = messages.UploadVersionRequest.Header(
        model=header.model,
        manifest=manifest.encode(),
        signature=oms.sign(manifest, key),
        commitment=commit(harness, header.model),
    )
    return other, changed.items()


def test_a_pickle_renamed(harness, published):
    header, files = with_graph(harness, published, pickle.dumps({"weights": [1.0]}))
    assert upload(harness, header, files) is Reason.FORMAT_REFUSED


def test_a_graph_with_data_outside_itself(harness, published):
    graph = with_external_data(published[1]["model.int8.onnx"])
    header, files = with_graph(harness, published, graph)
    assert upload(harness, header, files) is Reason.EXTERNAL_DATA


@pytest.mark.parametrize("begins", ["UploadVersion", "CreateUpload"])
def test_no_file_is_taken_before_its_signature_is_checked(harness, published, begins):
    header, _ = with_graph(harness, published, b"other bytes than those that were signed")
    signature = published[0].signature
    if begins == "CreateUpload":
        request = upload_pb2.CreateUploadRequest(
            model=header.model, manifest=header.manifest, signature=signature
        )
        uploads = UploadServiceStub(harness.channel("publisher"))
        assert refusal(uploads.CreateUpload, request, timeout=60) is Reason.DIGEST_MISMATCH
        return
    header.signature = signature
    go_on = threading.Event()

    def parts():
        yield messages.UploadVersionRequest(header=header)
        # The header alone is refused: no file comes before that.
        go_on.wait()

    try:
        call = harness.registry("publisher").UploadVersion
        assert refusal(call, parts(), timeout=60) is Reason.DIGEST_MISMATCH
    finally:
        go_on.set()


def test_files_without_a_header_and_chunks_without_a_file(harness, published):
    call = harness.registry("publisher").UploadVersion
    for first in (
        messages.UploadVersionRequest(file="a.onnx"),
        messages.UploadVersionRequest(chunk=b"x"),
        messages.UploadVersionRequest(),
    ):
        assert refusal(call, iter([first]), timeout=60) is Reason.DOCUMENT_MALFORMED
    header, _ = published
    parts = [
        messages.UploadVersionRequest(header=header),
        messages.UploadVersionRequest(chunk=b"x"),
    ]
    assert refusal(call, iter(parts), timeout=60) is Reason.DOCUMENT_MALFORMED


def test_a_signature_over_other_files(harness, published):
    header, files = published
    other = messages.UploadVersionRequest.Header()
    other.CopyFrom(header)
    version_2 = harness.registry("publisher").GetVersion(
        messages.GetVersionRequest(name="models/digits/versions/2")
    )
    other.signature = version_2.version.signature
    assert upload(harness, other, files.items()) is Reason.DIGEST_MISMATCH
