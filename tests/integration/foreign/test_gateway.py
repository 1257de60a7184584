"""A whole gateway in front of a real MLServer, from its configuration to a receipt."""

from pathlib import Path

import numpy as np
import pytest

from demo.questions import reason_for
from inference.engine.version_contents import INT8, RESPONSE
from inference.screening.gradient_attacks import PGD_SHARE, PGD_STEPS, pgd
from publishing.worker_tasks.forward import ResponseGraph
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from sealgate.tensors import read_outputs
from sealgate.trust.receipts import Receipt, verify_receipt
from sealgate.trust.statements import Manifest
from sealgate.v1 import registry_pb2 as messages
from tests.support.harness.gateway import GatewayHarness, labels, question, refusal, rows, running
from tests.support.harness.servers.foreign_servers import MlServer, ml_server


def stored(harness: GatewayHarness, path: str) -> bytes:
    """A file of version 1, as the registry has it."""
    request = messages.GetVersionRequest(name="models/digits/versions/1")
    found = harness.registry("auditor").GetVersion(request).version
    digest = Manifest.decode(found.manifest).entry(path).digest.removeprefix("sha256:")
    return (harness.state / "artifacts" / digest[:2] / digest[2:]).read_bytes()


@pytest.fixture
def server(tmp_path: Path):
    (tmp_path / "mlserver").mkdir()
    with ml_server(tmp_path / "mlserver") as server:
        yield server


def test_a_gateway_in_front_of_mlserver(server: MlServer, tmp_path: Path) -> None:
    with running(tmp_path / "state", "digits-standard") as harness:
        harness.promote("digits", 1)
        asked = question("digits", rows(count=4), receipt=True)
        ours = read_outputs(harness.inference().ModelInfer(asked, timeout=60))["logits"].data
        graph = ResponseGraph.of(stored(harness, RESPONSE))
        server.deploy("digits", 1, stored(harness, INT8))
        harness.stop()
        configuration = harness.state / "gateway.toml"
        section = f'\n[foreign_engine]\naddress = "{server.address}"\nname = "mlserver"\n'
        configuration.write_text(configuration.read_text() + section)
        harness.start()
        harness.await_version("digits", 1)
        stub = harness.inference()
        response = stub.ModelInfer(asked, timeout=60)
        assert np.allclose(read_outputs(response)["logits"].data, ours, atol=1e-5)
        receipt = Receipt.decode(response.parameters["receipt"].string_param.encode())
        fields = verify_receipt(receipt, harness.governance("client").policy()).fields
        said = 'foreign "mlserver", digest not checked there'
        assert (fields["version"], fields["engine"]) == ("1", said)
        # The gateway cannot see which arithmetic that server computes with.
        assert (fields["screening"], fields["arithmetic"]) == ("full", "")
        metadata = stub.ModelMetadata(oip.ModelMetadataRequest(name="digits"), timeout=60)
        assert metadata.properties["engine"] == said
        described = stub.ModelConfig(oip.ModelConfigRequest(name="digits"), timeout=60).config
        assert described.parameters["engine"].string_value == said
        attacked = pgd(
            graph, rows(count=20), labels(count=20), 0.2, 0.2 / PGD_SHARE, PGD_STEPS, 0.0, 1.0
        )
        refused = [reason_for(stub, question("digits", row[None])) for row in attacked]
        assert refused.count(Reason.ADVERSARIAL_INPUT) > 0
        server.stop()
        assert refusal(stub.ModelInfer, asked, timeout=60) is Reason.ENGINE_UNAVAILABLE
