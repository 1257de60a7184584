"""Who uploads what: several publishers, into a bucket, and a `sealgate model publish` cut short."""

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
from sealgate.setup.tokens import ISSUER, mint_token
from sealgate.v1 import registry_pb2
from sealgate.v1 import upload_pb2 as messages
from sealgate.v1.upload_pb2_grpc import UploadServiceStub
from tests.support.bucket import BucketServer
from tests.support.house import DATA, MODELS, House, now, refusal, running
from tests.support.packages import expected, package, stored
from tests.support.relay import relay_to
from tests.support.succession import change

PUBLISH = ("model", "publish", str(MODELS / "digits-1"), "--data", str(DATA / "digits.safetensors"))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house of its own: its policy and its one gateway are this module's."""
    with running(tmp_path_factory.mktemp("uploaders") / "state") as house:
        yield house


def second_publisher(house: House) -> grpc.Channel:
    """A channel of a publisher who comes with a token."""
    person = {
        "name": "publisher-2",
        "roles": ["publisher"],
        "keys": [],
        "identities": [f"jwt:{ISSUER} publisher-2"],
    }
    change(house, lambda document: document["principals"].append(person))
    key = (house.state / "issuer" / "issuer.key").read_bytes()
    token = mint_token(key, "publisher-2", now(), timedelta(hours=1))
    access = replace(access_of(house.profile("client")), token=token)
    return grpc.secure_channel(access.endpoint, access.credentials())


def test_somebody_else_s_upload(house: House, tmp_path: Path) -> None:
    sent = package(house, tmp_path / "files", 1000)
    mine = UploadServiceStub(house.channel("publisher"))
    request = messages.CreateUploadRequest(model=sent.model, manifest=sent.manifest.encode())
    upload = mine.CreateUpload(request).upload
    with second_publisher(house) as channel:
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


def versions(house: House, model: str) -> list[registry_pb2.Version]:
    request = registry_pb2.ListVersionsRequest(model=model)
    return list(house.registry("publisher").ListVersions(request).versions)


def test_publish_that_is_interrupted_goes_on(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    send, sent = Uploader.send_file, []

    def send_two(self: Uploader, name: str, file: messages.Upload.File, *rest: object) -> None:
        if len(sent) >= 2:
            raise KeyboardInterrupt
        sent.append(file.path)
        send(self, name, file, *rest)

    monkeypatch.setattr(Uploader, "send_file", send_two)
    assert house.command(*PUBLISH, "--parallel", "1").exit_code != 0
    monkeypatch.undo()
    assert versions(house, "digits") == []
    again: list[str] = []

    def send_seen(self: Uploader, name: str, file: messages.Upload.File, *rest: object) -> None:
        if file.received < file.size:
            again.append(file.path)
        send(self, name, file, *rest)

    monkeypatch.setattr(Uploader, "send_file", send_seen)
    result = house.command(*PUBLISH, "--json")
    assert result.exit_code == 0, result.output
    assert "resume" in result.stderr
    assert "quantize" not in result.stderr
    assert len(sent) == 2
    assert set(sent).isdisjoint(again)
    told = json.loads(result.stdout)
    assert [version.digest for version in versions(house, "digits")] == [told["digest"]]
    assert list((house.state / "people" / "publisher" / "outbox").iterdir()) == []


def test_publish_that_is_refused_for_good_begins_anew(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Uploader, made: Package) -> registry_pb2.Version:
        bad = replace(made, commitment="sha256:" + "0" * 64)
        return publish(self, bad)

    publish = Uploader.publish
    monkeypatch.setattr(Uploader, "publish", refuse)
    result = house.command(*PUBLISH)
    assert result.exit_code == 1
    assert "COMMITMENT_UNKNOWN" in result.output
    monkeypatch.undo()
    result = house.command(*PUBLISH)
    assert result.exit_code == 0, result.output
    assert "resume" not in result.stderr


def test_a_gateway_that_stays_away(house: House, tmp_path: Path) -> None:
    sent = package(house, tmp_path / "files", 1 << 20)
    profile = house.profile("publisher")
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
    house = House(tmp_path / "state")
    configuration = house.state / "gateway.toml"
    place = (
        f'artifacts = "s3://{bucket.name}/{bucket.prefix}"\n'
        f'artifacts_endpoint = "{bucket.endpoint}"\nartifacts_region = "{bucket.region}"'
    )
    text = configuration.read_text()
    configuration.write_text(text.replace('artifacts = "artifacts"', place))
    house.start()
    try:
        sizes = (9 << 20, 3 << 20, 1 << 20)
        sent = package(house, tmp_path / "files", *sizes)
        profile = house.profile("publisher")
        tenths = [sum(sizes) * tenth // 10 for tenth in range(1, 11)]
        with relay_to(profile.endpoint, tenths) as relay:
            through = replace(profile, endpoint=f"127.0.0.1:{relay.port}")
            with connect(through) as channel:
                patience = UploadLimits(attempts=100, first=0.05, longest=0.5)
                version = Uploader(channel, patience=patience).publish(sent)
            assert len(relay.cuts) <= 1
        assert stored(house, version) == expected(sent)
        assert list((house.state / "uploads").iterdir()) == []
    finally:
        house.stop()
