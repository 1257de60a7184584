"""An engine in a process of its own reads its versions from a bucket, and notices altered ones."""

from pathlib import Path

import pytest

from sealgate.reasons import Reason
from sealgate.setup.configuration import EnginePlace
from tests.integration.remote.test_separate_engine import ask, eventually, states
from tests.support.harness.gateway import GatewayHarness, refusal
from tests.support.harness.processes.engine_process import EngineProcess
from tests.support.harness.servers.bucket import BucketServer

pytestmark = pytest.mark.slow


def test_a_version_out_of_a_bucket(bucket_server: BucketServer, tmp_path: Path) -> None:
    bucket = bucket_server.bucket()
    url = f"s3://{bucket.name}/{bucket.prefix}"
    harness = GatewayHarness(tmp_path / "state", engine=EnginePlace())
    for name, key, prefix in (("gateway", "artifacts", "artifacts_"), ("engine", "place", "")):
        path = harness.state / f"{name}.toml"
        place = f'{key} = "{url}"\n{prefix}endpoint = "{bucket.endpoint}"\n'
        place += f'{prefix}region = "{bucket.region}"'
        path.write_text(path.read_text().replace(f'{key} = "artifacts"', place))
    engine = EngineProcess(harness.state)
    engine.start()
    try:
        harness.start()
        harness.publish("digits-standard", "digits")
        harness.promote("digits", 1)
        assert ask(harness).model_version == "1"
        assert list((harness.state / "artifacts").iterdir()) == []
        engine.stop()
        client, stored = bucket_server.client, {"Bucket": bucket.name}
        keys = [item["Key"] for item in client.list_objects_v2(**stored)["Contents"]]
        genuine = {key: client.get_object(**stored, Key=key)["Body"].read() for key in keys}
        for key in keys:
            client.put_object(**stored, Key=key, Body=b"altered")
        engine.start()
        assert states(harness, 1) == {"": ("UNAVAILABLE", "VERSION_NOT_LIVE")}
        assert refusal(ask, harness) is Reason.ENGINE_UNAVAILABLE
        engine.stop()
        for key, data in genuine.items():
            client.put_object(**stored, Key=key, Body=data)
        engine.start()
        assert eventually(lambda: ask(harness)).model_version == "1"
    finally:
        harness.stop()
        engine.stop()
