"""A version without screening: only where the policy exempts the model's risk tier, and everything
that is said of its answers says so.
"""

import json
from collections.abc import Mapping
from typing import Any

import grpc
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from publishing.evidence.measurements import NO_SCREENING
from publishing.evidence.signing import ML_BOM, SCREENING_REPORT
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from sealgate.remote import reason_of
from sealgate.tensors import Tensor, write_inputs
from sealgate.trust.dsse import Envelope
from sealgate.trust.receipts import Receipt, verify_receipt
from sealgate.trust.receipts.answer_entry import NONE
from sealgate.trust.statements import Evidence, Manifest
from sealgate.v1.registry_pb2 import GetVersionRequest, Version
from tests.support.harness.console import ConsoleHarness
from tests.support.harness.gateway import GatewayHarness, refusal, running
from tests.support.harness.policy_changes import document, follow, root, send, signed
from tests.support.harness.rollouts import await_true

pytestmark = pytest.mark.slow

ROWS = np.random.default_rng(0).random((80, 4), np.float32)
CLASSES = (ROWS.sum(axis=1) > 2).astype(np.int64)
LOW = {"models": {"gate": "low"}, "approvals": {}}
EXEMPT = {"tiers": ["low"]}


def model() -> bytes:
    """Of an operator that has no gradient, so that it could not be screened at all."""
    nodes = [
        helper.make_node("Gemm", ["rows", "weight", "bias"], ["sums"]),
        helper.make_node("CumSum", ["sums", "axis"], ["answer"]),
    ]
    weights = [
        numpy_helper.from_array(np.array([[-1, 2]] * 4, np.float32), "weight"),
        numpy_helper.from_array(np.array([2, -4], np.float32), "bias"),
        numpy_helper.from_array(np.array(1), "axis"),
    ]
    taken = helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", 4])
    given = helper.make_tensor_value_info("answer", TensorProto.FLOAT, ["n", 2])
    graph = helper.make_graph(nodes, "gate", [taken], [given], weights)
    opset = [helper.make_opsetid("", 20)]
    return helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory):
    with running(tmp_path_factory.mktemp("unscreened") / "state") as harness:
        (harness.state / "gate.onnx").write_bytes(model())
        save_file({"x": ROWS, "y": CLASSES}, harness.state / "rows.safetensors")
        yield harness


def with_sections(harness: GatewayHarness, **sections: dict) -> None:
    """The next policy has these sections, and of both no other."""
    kept = {k: v for k, v in document(harness).items() if k not in ("risk", "unscreened")}
    send(harness, signed(kept | sections, root(harness, 1), root(harness, 2)))
    follow(harness, kept["version"])


def publish(harness: GatewayHarness, *words: str):
    files = str(harness.state / "gate.onnx"), "--data", str(harness.state / "rows.safetensors")
    return harness.command("model", "publish", *files, "--without-gradient", *words)


def ask(harness: GatewayHarness) -> oip.ModelInferResponse:
    request = oip.ModelInferRequest(model_name="gate")
    request.parameters["receipt"].bool_param = True
    write_inputs(request, [Tensor.of("rows", ROWS[:3])])
    return harness.inference().ModelInfer(request, timeout=60)


def ended(harness: GatewayHarness) -> bool:
    """Whether no engine serves it any more; until it hears of the policy, it does."""
    try:
        ask(harness)
    except grpc.RpcError as error:
        return reason_of(error) is Reason.VERSION_NOT_LIVE
    return False


def version_of(harness: GatewayHarness, number: int) -> Version:
    request = GetVersionRequest(name=f"models/gate/versions/{number}")
    return harness.registry("auditor").GetVersion(request).version


def evidence_of(version: Version, kind: str) -> Mapping[str, Any]:
    items = [Evidence.decode(Envelope.decode(data).payload) for data in version.evidence]
    (found,) = [item.body for item in items if item.kind == kind]
    return found


@pytest.mark.parametrize("sections", [{}, {"risk": LOW}, {"unscreened": EXEMPT}])
def test_without_an_exemption_nothing_is_published(harness: GatewayHarness, sections: dict) -> None:
    with_sections(harness, **sections)
    result = publish(harness, "--without-screening")
    assert result.exit_code != 0
    assert "SCREENING_REQUIRED" in result.output
    assert refusal(
        harness.registry("auditor").GetVersion, GetVersionRequest(name="models/gate/versions/1")
    ) in (Reason.MODEL_UNKNOWN, Reason.VERSION_UNKNOWN)


def test_an_exempt_version_answers_and_everything_says_that_nothing_is_screened(
    harness: GatewayHarness, tmp_path
) -> None:
    with_sections(harness, risk=LOW, unscreened=EXEMPT)
    result = publish(harness, "--without-screening")
    assert result.exit_code == 0, result.output
    assert "NOT SCREENED" in result.output
    harness.promote("gate", 1)
    # The evidence and the files.
    version = version_of(harness, 1)
    assert NO_SCREENING.items() <= evidence_of(version, SCREENING_REPORT).items()
    assert not Manifest.decode(version.manifest).screened
    # The metadata.
    metadata = oip.ModelMetadataRequest(name="gate")
    properties = harness.inference().ModelMetadata(metadata, timeout=60).properties
    assert properties["screening"] == NONE
    # The answer's receipt.
    response = ask(harness)
    sums = ROWS[:3] @ np.array([[-1, 2]] * 4, np.float32) + np.array([2, -4])
    found = np.frombuffer(response.raw_output_contents[0], np.float32).reshape(3, 2)
    assert np.allclose(found, np.cumsum(sums, axis=1), atol=1e-4)
    text = response.parameters["receipt"].string_param
    fields = verify_receipt(Receipt.decode(text.encode()), harness.governance("client").policy())
    assert (fields.fields["screening"], fields.fields["verdict"]) == (NONE, "")
    # The tools.
    (tmp_path / "receipt.json").write_text(text)
    shown = harness.command("model", "show", "gate", "1")
    assert "NOT SCREENED" in shown.output
    assert (
        json.loads(harness.command("model", "show", "gate", "1", "--json").stdout)["screening"]
        == NONE
    )
    checked = harness.command("receipt", "verify", str(tmp_path / "receipt.json"))
    assert "NOT SCREENED" in checked.output
    page = tmp_path / "case.html"
    decided = harness.command(
        "audit", "decision", str(tmp_path / "receipt.json"), "--page", str(page)
    )
    assert "from which the policy exempts the model's risk tier" in decided.output
    assert '<span class="bad">not screened</span>' in page.read_text()
    assert "NOT SCREENED" in harness.command("model", "list", "gate").output
    console = ConsoleHarness(harness).signed_in("auditor")
    for place in ("/", "/models/gate", "/models/gate/versions/1"):
        assert '<span class="chip bad">not screened</span>' in console.get(place).text


def test_the_bill_of_an_int8_version_names_what_leaves(harness: GatewayHarness) -> None:
    """Nothing compares it with float32, so its accuracy is that of INT8."""
    with_sections(harness, risk=LOW, unscreened=EXEMPT)
    result = publish(harness, "--without-screening", "--precision", "int8")
    assert result.exit_code == 0, result.output
    bill = json.dumps(evidence_of(version_of(harness, 2), ML_BOM))
    assert "INT8 served" in bill
    assert "float32 corrects" not in bill


def test_once_the_exemption_ends_no_engine_serves_it_and_nobody_proposes_it(
    harness: GatewayHarness,
) -> None:
    """The version that the test before brought into production."""
    assert ask(harness).model_version == "1"
    with_sections(harness, risk=LOW)
    await_true(lambda: ended(harness))
    assert refusal(harness.propose, "gate", 1) is Reason.SCREENING_REQUIRED
