"""A whole installation whose artifacts are in a bucket; collecting, with the gateway at work."""

import json
import os

import pytest

from gateway.app import build
from gateway.config.document import GatewayConfig
from registry.storage.artifacts import FolderStore
from registry.uploads.spool import OpenedUpload, Spool
from sealgate.reasons import Reason
from sealgate.settings import ConfigError
from sealgate.trust.canonical import sha256
from tests.support.harness.gateway import GatewayHarness, now, question, refusal, rows, running

DATA = b"nobody names these"
DIGEST = sha256(DATA)


def collected(harness: GatewayHarness, *words: str):
    result = harness.command("artifacts", "collect", *words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_from_publishing_to_an_answer_out_of_a_bucket(bucket_server, tmp_path):
    bucket = bucket_server.bucket()
    harness = GatewayHarness(tmp_path / "state")
    configuration = harness.state / "gateway.toml"
    url = f"s3://{bucket.name}/{bucket.prefix}"
    settings = f'artifacts = "{url}"\nartifacts_endpoint = "{bucket.endpoint}"\n'
    text = configuration.read_text()
    configuration.write_text(
        text.replace('artifacts = "artifacts"', f'{settings}artifacts_region = "{bucket.region}"')
    )
    harness.start()
    harness.publish("digits-standard", "digits")
    harness.promote("digits", 1)
    objects = bucket_server.client.list_objects_v2(Bucket=bucket.name)["Contents"]
    assert not (harness.state / "artifacts" / "incoming").exists()
    assert collected(harness)["files"] == []
    harness.stop()
    harness.start()
    assert harness.inference().ModelInfer(question("digits", rows())).model_version == "1"
    proposal = harness.propose("digits", 1)
    for item in objects:
        bucket_server.client.put_object(Bucket=bucket.name, Key=item["Key"], Body=b"altered")
    review = harness.governance("approver-1").review
    assert refusal(review, proposal.digest, lambda path: None) is Reason.VERSION_ALTERED
    harness.stop()
    configuration.write_text(text.replace('artifacts = "artifacts"', f'artifacts = "{url}-x?"'))
    with pytest.raises(ConfigError, match="s3://bucket/prefix"):
        build(GatewayConfig.read(configuration))


def test_collecting_beside_a_gateway_at_work(tmp_path):
    with running(tmp_path / "state", "digits-standard") as harness:
        harness.promote("digits", 1)
        folder = harness.state / "artifacts"
        FolderStore(folder).put([DATA], len(DATA), DIGEST)
        (folder / "incoming" / "killed").write_bytes(b"half")
        assert collected(harness)["files"] == []
        for path in (*folder.glob("??/*"), folder / "incoming" / "killed"):
            os.utime(path, (1, 1))
        # An upload that ended long ago, and one that is open.
        for number in (1, 2):
            Spool(harness.state / "uploads").add(
                f"{number:032x}", OpenedUpload("p", "m", b""), now()
            )
        os.utime(harness.state / "uploads" / f"{1:032x}" / "upload.json", (1, 1))
        found = {"files": [DIGEST], "bytes": len(DATA), "leftovers": 2}
        assert collected(harness, "--dry-run") == {"removed": False, **found}
        assert collected(harness) == {"removed": True, **found}
        assert collected(harness) == {"removed": True, "files": [], "bytes": 0, "leftovers": 0}
        assert os.listdir(harness.state / "uploads") == [f"{2:032x}"]
        harness.promote("digits", 1)
        assert harness.inference().ModelInfer(question("digits", rows())).model_version == "1"
        assert harness.command("artifacts", "collect", "--older-than", "0.5").exit_code == 2
    (tmp_path / "state" / "gateway.toml").unlink()
    result = harness.command("artifacts", "collect")
    assert result.exit_code == 1
    assert "sealgate init" in result.output
