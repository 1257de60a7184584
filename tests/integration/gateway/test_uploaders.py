"""Uploads of several publishers, into a bucket, and an interrupted `sealgate model publish`."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from sealgate.reasons import Reason
from sealgate.remote import access_of, connect, reason_of
from sealgate.remote.uploads import Package, Uploader, UploadLimits
from sealgate.setup.credentials import ISSUER, mint_token
from sealgate.v1 import registry_pb2
from sealgate.v1 import upload_pb2 as messages
from sealgate.v1.upload_pb2_grpc import UploadServiceStub
from tests.support.builders.packages import expected, package, stored
from tests.support.harness.gateway import DATA, MODELS, GatewayHarness, now, refusal, running
from tests.support.harness.network.relay import relay_to
from tests.support.harness.policy_changes import change
from tests.support.harness.servers.bucket import BucketServer

pytestmark = pytest.mark.slow

PUBLISH = (
    "model",
    "publish",
    str(MODELS / "digits-standard"),
    "--data",
    str(DATA / "digits.safetensors"),
)


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayHarness]:
    """A gateway of its own: its policy and its one gateway are this module's."""
    with running(tmp_path_factory.mktemp("uploaders") / "state") as harness:
        yield harness


def second_publisher(harness: GatewayHarness) -> grpc.Channel:
    """A channel of a publisher who comes with a token."""
    person = {
        "name": "publisher-2",
        "roles": ["publisher"],
        "keys": [],
        "identities": [f"jwt:{ISSUER} publisher-2"],
    }
    change(harness, lambda document: document["principals"].append(person))
    key = (harness.state / "issuer" / "issuer.key").read_bytes()
    token = mint_token(key, "publisher-2", now(), timedelta(hours=1))
    access = replace(access_of(harness.profile("client")), token=token)
    return grpc.secure_channel(access.endpoint, access.credentials())


def test_somebody_else_s_upload(harness: GatewayHarness, tmp_path: Path) -> None:
    sent = package(harness, tmp_path / "files", 1000)
    mine = UploadServiceStub(harness.channel("publisher"))
    request = messages.CreateUploadRequest(model=sent.model, manifest=sent.manifest.encode())
    upload = mine.CreateUpload(request).upload
    with second_publisher(harness) as channel:
        other = UploadServiceStub(channel)
        header = messages.UploadFileRequest.Header(name=upload.name, path=upload.files[0].path)
        for call, asked in (
            (other.GetUpload, messages.GetUploadRequest(name=upload.name)),
            (other.UploadFile, iter([messages.UploadFileRequest(header=header)])),
            (other.CreateVersion, messages.CreateVersionRequest(name=upload.name)),
            (other.DeleteUpload, messages.DeleteUploadRequest(name=upload.name)),
        ):
            assert refusal(call, asked, timeout=60) is Reason.UPLOAD_FOREIGN
        # The same files are an upload of their own, into which the other's bytes do not come.
        assert other.CreateUpload(request).upload.name != upload.name
    mine.DeleteUpload(messages.DeleteUploadRequest(name=upload.name))


def versions(harness: GatewayHarness, model: str) -> list[registry_pb2.Version]:
    request = registry_pb2.ListVersionsRequest(model=model)
    return list(harness.registry("publisher").ListVersions(request).versions)


def test_publish_that_is_interrupted_goes_on(
    harness: GatewayHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, sent = Uploader.send_file, []

    def send_two(self: Uploader, name: str, file: messages.Upload.File, *rest: object) -> None:
        if len(sent) >= 2:
            raise KeyboardInterrupt
        sent.append(file.path)
        send(self, name, file, *rest)

    monkeypatch.setattr(Uploader, "send_file", send_two)
    assert harness.command(*PUBLISH, "--parallel", "1").exit_code != 0
    monkeypatch.undo()
    assert versions(harness, "digits") == []
    again: list[str] = []

    def send_seen(self: Uploader, name: str, file: messages.Upload.File, *rest: object) -> None:
        if file.received < file.size:
            again.append(file.path)
        send(self, name, file, *rest)

    monkeypatch.setattr(Uploader, "send_file", send_seen)
    result = harness.command(*PUBLISH, "--json")
    assert result.exit_code == 0, result.output
    assert "resume" in result.stderr
    assert "quantize" not in result.stderr
    assert len(sent) == 2
    assert set(sent).isdisjoint(again)
    told = json.loads(result.stdout)
    assert [version.digest for version in versions(harness, "digits")] == [told["digest"]]
    assert list((harness.state / "people" / "publisher" / "outbox").iterdir()) == []


def test_publish_that_is_refused_for_good_begins_anew(
    harness: GatewayHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Uploader, made: Package) -> registry_pb2.Version:
        bad = replace(made, commitment="sha256:" + "0" * 64)
        return publish(self, bad)

    publish = Uploader.publish
    monkeypatch.setattr(Uploader, "publish", refuse)
    result = harness.command(*PUBLISH)
    assert result.exit_code == 1
    assert "COMMITMENT_UNKNOWN" in result.output
    monkeypatch.undo()
    result = harness.command(*PUBLISH)
    assert result.exit_code == 0, result.output
    assert "resume" not in result.stderr


def test_a_gateway_that_stays_away(harness: GatewayHarness, tmp_path: Path) -> None:
    sent = package(harness, tmp_path / "files", 1 << 20)
    profile = harness.profile("publisher")
    with relay_to(profile.endpoint, [1 << 19]) as relay:
        through = replace(profile, endpoint=f"127.0.0.1:{relay.port}")

        def look(done: int, total: int) -> None:
            if not relay.cuts:
                relay.close()

        with connect(through) as channel:
            patience = UploadLimits(attempts=3, first=0.01, longest=0.1)
            uploader = Uploader(channel, patience=patience, progress=look)
            with pytest.raises(grpc.RpcError) as caught:
                uploader.publish(sent)
    assert reason_of(caught.value) is None
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_into_a_bucket_over_breaks(bucket_server: BucketServer, tmp_path: Path) -> None:
    bucket = bucket_server.bucket()
    harness = GatewayHarness(tmp_path / "state")
    configuration = harness.state / "gateway.toml"
    place = (
        f'artifacts = "s3://{bucket.name}/{bucket.prefix}"\n'
        f'artifacts_endpoint = "{bucket.endpoint}"\nartifacts_region = "{bucket.region}"'
    )
    text = configuration.read_text()
    configuration.write_text(text.replace('artifacts = "artifacts"', place))
    harness.start()
    try:
        sizes = (9 << 20, 3 << 20, 1 << 20)
        sent = package(harness, tmp_path / "files", *sizes)
        profile = harness.profile("publisher")
        tenths = [sum(sizes) * tenth // 10 for tenth in range(1, 11)]
        with relay_to(profile.endpoint, tenths) as relay:
            through = replace(profile, endpoint=f"127.0.0.1:{relay.port}")
            with connect(through) as channel:
                patience = UploadLimits(attempts=100, first=0.05, longest=0.5)
                version = Uploader(channel, patience=patience).publish(sent)
            assert len(relay.cuts) <= 1
        assert stored(harness, version) == expected(sent)
        assert list((harness.state / "uploads").iterdir()) == []
    finally:
        harness.stop()
