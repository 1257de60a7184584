"""Resumable uploads whose requests are repeated under their ids."""

import json
import uuid
from datetime import timedelta

import pytest

from registry.state.unit_of_work import RequestKey
from registry.uploads.open_uploads import LIFETIME, OpenUploads
from registry.uploads.spool import Spool
from sealgate.reasons import Reason
from sealgate.trust.canonical import sha256
from sealgate.trust.statements import Manifest, oms
from tests.support.builders.documents.people import NOW, p256_key, refused
from tests.support.harness.registry import RegistryHarness, version_files

FILES = version_files()
MANIFEST = Manifest.of(FILES)
OTHER = Manifest.of({**FILES, "more.json": b"{}"}).encode()


@pytest.fixture
def uploads(harness: RegistryHarness) -> OpenUploads:
    spool = Spool(harness.folder / "uploads")
    return OpenUploads(
        harness.registry.versions, harness.artifacts, spool, harness.clock, lambda: uuid.uuid4().hex
    )


def new_once() -> RequestKey:
    return RequestKey(str(uuid.uuid4()), sha256(b"this"))


def test_an_id_opens_one_upload_while_that_is_there(
    harness: RegistryHarness, uploads: OpenUploads
) -> None:
    once, manifest = new_once(), MANIFEST.encode()
    first = uploads.create("paula", "digits", manifest, once)
    assert uploads.create("paula", "digits", manifest, once) == first
    with refused(Reason.REQUEST_ID_REUSED):
        uploads.create("paula", "digits", OTHER, once)
    # The files know the upload too, and ids are each caller's own.
    assert uploads.create("paula", "digits", manifest, new_once()) == first
    assert uploads.create("peter", "digits", OTHER, once).name != first.name
    uploads.remove(first)
    assert uploads.create("paula", "digits", OTHER, once).name != first.name
    harness.now = NOW + LIFETIME + timedelta(hours=1)
    assert uploads.create("paula", "digits", manifest, once).principal == "paula"


def test_a_version_is_registered_once(harness: RegistryHarness, uploads: OpenUploads) -> None:
    once = new_once()
    upload = uploads.create("paula", "digits", MANIFEST.encode())
    for path, data in FILES.items():
        uploads.receive(upload, path, 0, [data])
    assert uploads.done("paula", once) is None
    signature = oms.sign(MANIFEST, p256_key("paula"))
    evidence = [harness.evidence(MANIFEST)]
    first = uploads.register(upload, signature, evidence, harness.commitment(), once)
    size = harness.registry.log.size()
    # The upload is gone; what it became is known by the request.
    with refused(Reason.UPLOAD_UNKNOWN):
        uploads.get("paula", upload.name)
    assert uploads.done("paula", once) == first
    assert harness.registry.log.size() == size
    with refused(Reason.REQUEST_ID_REUSED):
        uploads.done("paula", RequestKey(once.request_id, sha256(b"that")))


def test_what_an_earlier_release_opened_has_no_id(
    harness: RegistryHarness, uploads: OpenUploads
) -> None:
    upload = uploads.create("paula", "digits", MANIFEST.encode(), new_once())
    path = harness.folder / "uploads" / upload.name / "upload.json"
    document = json.loads(path.read_bytes())
    del document["request_id"]
    path.write_text(json.dumps(document, sort_keys=True, separators=(",", ":")))
    assert uploads.create("paula", "digits", MANIFEST.encode(), new_once()).name == upload.name
