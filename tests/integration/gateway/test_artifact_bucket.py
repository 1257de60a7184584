"""A whole installation whose artifacts are in a bucket; collecting, with the gateway at work."""

import json
import os

import pytest

from gateway.app import build
from gateway.config.document import GatewayConfig
from registry.storage.artifact_folder import FolderStore
from registry.uploads.spool import OpenedUpload, Spool
from sealgate.reasons import Reason
from sealgate.settings import ConfigError
from sealgate.trust.canonical import sha256
from tests.support.house import House, now, question, refusal, rows, running

DATA = b"nobody names these"
DIGEST = sha256(DATA)


def collected(house: House, *words: str):
    result = house.command("artifacts", "collect", *words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_from_publishing_to_an_answer_out_of_a_bucket(bucket_server, tmp_path):
    bucket = bucket_server.bucket()
    house = House(tmp_path / "state")
    configuration = house.state / "gateway.toml"
    url = f"s3://{bucket.name}/{bucket.prefix}"
    settings = f'artifacts = "{url}"\nartifacts_endpoint = "{bucket.endpoint}"\n'
    text = configuration.read_text()
    configuration.write_text(
        text.replace('artifacts = "artifacts"', f'{settings}artifacts_region = "{bucket.region}"')
    )
    house.start()
    house.publish("digits-1", "digits")
    house.promote("digits", 1)
    objects = bucket_server.client.list_objects_v2(Bucket=bucket.name)["Contents"]
    assert not (house.state / "artifacts" / "incoming").exists()
    assert collected(house)["files"] == []
    house.stop()
    house.start()
    assert house.inference().ModelInfer(question("digits", rows())).model_version == "1"
    proposal = house.propose("digits", 1)
    for item in objects:
        bucket_server.client.put_object(Bucket=bucket.name, Key=item["Key"], Body=b"altered")
    review = house.governance("approver-1").review
    assert refusal(review, proposal.digest, lambda path: None) is Reason.VERSION_ALTERED
    house.stop()
    configuration.write_text(text.replace('artifacts = "artifacts"', f'artifacts = "{url}-x?"'))
    with pytest.raises(ConfigError, match="s3://bucket/prefix"):
        build(GatewayConfig.read(configuration))


def test_collecting_beside_a_gateway_at_work(tmp_path):
    with running(tmp_path / "state", "digits-1") as house:
        house.promote("digits", 1)
        folder = house.state / "artifacts"
        FolderStore(folder).put([DATA], len(DATA), DIGEST)
        (folder / "incoming" / "killed").write_bytes(b"half")
        assert collected(house)["files"] == []
        for path in (*folder.glob("??/*"), folder / "incoming" / "killed"):
            os.utime(path, (1, 1))
        # An upload that ended long ago, and one that is open.
        for number in (1, 2):
            Spool(house.state / "uploads").add(f"{number:032x}", OpenedUpload("p", "m", b""), now())
        os.utime(house.state / "uploads" / f"{1:032x}" / "upload.json", (1, 1))
        found = {"files": [DIGEST], "bytes": len(DATA), "leftovers": 2}
        assert collected(house, "--dry-run") == {"removed": False, **found}
        assert collected(house) == {"removed": True, **found}
        assert collected(house) == {"removed": True, "files": [], "bytes": 0, "leftovers": 0}
        assert os.listdir(house.state / "uploads") == [f"{2:032x}"]
        house.promote("digits", 1)
        assert house.inference().ModelInfer(question("digits", rows())).model_version == "1"
        assert house.command("artifacts", "collect", "--older-than", "0.5").exit_code == 2
    (tmp_path / "state" / "gateway.toml").unlink()
    result = house.command("artifacts", "collect")
    assert result.exit_code == 1
    assert "sealgate init" in result.output
