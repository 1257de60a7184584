"""A version whose evidence fills a message ends no stream of changes and no list."""

from registry.models.evidence import LARGEST_EVIDENCE
from sealgate.reasons import Reason
from sealgate.trust.keys import load_private_key
from sealgate.trust.statements import Evidence, Manifest, oms, sign_statement
from sealgate.v1 import registry_pb2 as messages
from sealgate.v1 import upload_pb2 as uploads
from sealgate.v1.upload_pb2_grpc import UploadServiceStub
from tests.support.builders.packages import commit
from tests.support.harness.gateway import GatewayHarness, refusal
from tests.support.harness.registry import version_files

MESSAGE = 4 << 20
MODEL = "noted"
ITEMS = 8


def request_of(
    harness: GatewayHarness, name: str, most: int
) -> tuple[UploadServiceStub, uploads.CreateVersionRequest]:
    """A request that registers a version, with about `most` bytes of evidence."""
    person = harness.profile("publisher")
    commitment = commit(harness, MODEL)
    files = version_files(name)
    manifest = Manifest.of(files)
    signature = oms.sign(manifest, load_private_key(person.model_signing_key))
    stub = UploadServiceStub(harness.channel("publisher"))
    opened = uploads.CreateUploadRequest(
        model=MODEL, manifest=manifest.encode(), signature=signature
    )
    upload = stub.CreateUpload(opened, timeout=60).upload
    for path, data in files.items():
        header = uploads.UploadFileRequest.Header(name=upload.name, path=path)
        parts = [uploads.UploadFileRequest(header=header), uploads.UploadFileRequest(chunk=data)]
        stub.UploadFile(iter(parts), timeout=60)
    request = uploads.CreateVersionRequest(
        name=upload.name, signature=signature, commitment=commitment
    )
    key = load_private_key(person.signing_key)
    # An envelope holds its payload in base64.
    body = {"text": "x" * (most // ITEMS * 3 // 4 - 900)}
    for number in range(ITEMS):
        kind = f"note-{number}"
        item = Evidence(kind, manifest.digest, person.name, "2026-11-29T10:00:00Z", body)
        request.evidence.append(sign_statement(item, key).encode())
    return stub, request


def register(harness: GatewayHarness, name: str) -> messages.Version:
    stub, request = request_of(harness, name, LARGEST_EVIDENCE)
    return stub.CreateVersion(request, timeout=60).version


def test_no_more_than_fits_into_a_message_is_registered(harness: GatewayHarness) -> None:
    stub, request = request_of(harness, "none", MESSAGE)
    assert request.ByteSize() < MESSAGE
    assert refusal(stub.CreateVersion, request, timeout=60) is Reason.FILE_TOO_LARGE


def test_changes_behind_it_are_told(harness: GatewayHarness) -> None:
    version = register(harness, "one")
    harness.registry("publisher").CreateModel(messages.CreateModelRequest(model="later"))
    request = messages.WatchChangesRequest(start=0)
    told = {}
    for message in harness.registry("auditor").WatchChanges(request, timeout=60):
        told[message.change.subject] = message.change.version
        if message.change.subject == "models/later":
            break
    assert told[version.name].digest == version.digest
    assert not told[version.name].evidence
    assert told["models/digits/versions/1"].evidence


def test_a_list_takes_further_pages(harness: GatewayHarness) -> None:
    expected = [register(harness, name) for name in ("two", "three", "four")]
    request = messages.ListVersionsRequest(model=MODEL, page_size=200)
    found = []
    while True:
        page = harness.registry("auditor").ListVersions(request, timeout=60)
        assert page.versions
        found += page.versions
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
    assert found[-3:] == expected
