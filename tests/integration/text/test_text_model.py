"""From a folder to an answer: a text model is published, promoted, asked by BYTES, and recorded."""

import json
from dataclasses import replace

import numpy as np
import pytest

from sealgate.client.client import connect, options_of
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.probes import PROBES
from sealgate.reasons import Reason
from sealgate.tensors import Tensor, read_outputs, write_inputs
from sealgate.trust.receipts import Receipt, verify_receipt
from sealgate.trust.receipts.answer_entry import tensors_digest
from tests.support.builders.models.text_models import RULES, question, sentences, tensor
from tests.support.harness.gateway import refusal
from tests.support.oracles.disk import contents

SECRET = "prize marzipan"


def request(given: Tensor) -> oip.ModelInferRequest:
    asked = oip.ModelInferRequest(model_name="letters")
    write_inputs(asked, [given])
    return asked


def test_texts_are_answered_with_a_receipt_over_their_bytes(harness):
    asked, labels = sentences(9, 12)
    response = harness.inference().ModelInfer(question(*asked))
    logits = read_outputs(response)["logits"].data
    assert np.mean(logits.argmax(axis=1) == labels) >= 0.75
    receipt = Receipt.decode(response.parameters["receipt"].string_param.encode())
    fields = verify_receipt(receipt, harness.governance("client").policy()).fields
    sent = tensor(*(text.encode() for text in asked))
    named = (sent.name, sent.datatype, sent.shape, sent.raw)
    assert fields["input"] == tensors_digest([named])
    assert fields["outcome"] == "answered"


def test_an_answer_is_the_same_in_any_company(harness):
    asked, _ = sentences(10, 16)
    stub = harness.inference()
    together = read_outputs(stub.ModelInfer(question(*asked)))["logits"].data
    for place, text in enumerate(asked):
        alone = read_outputs(stub.ModelInfer(question(text)))["logits"].data
        assert np.array_equal(alone[0], together[place])


def test_its_health_is_checked_by_texts_that_are_no_one_s(harness):
    """But not by the one that is longer than what it takes."""
    result = harness.command("health", "letters", "--json")
    assert result.exit_code == 0
    findings = {each["check"]: each for each in json.loads(result.output)["findings"]}
    numbers = findings["golden"]["numbers"]
    assert numbers["same"] + numbers["withheld"] == len(PROBES) - 1
    assert numbers["same"] > 0


def test_what_a_model_takes_can_be_asked(harness):
    metadata = harness.inference().ModelMetadata(oip.ModelMetadataRequest(name="letters"))
    (taken,) = metadata.inputs
    assert (taken.name, taken.datatype, list(taken.shape)) == ("text", "BYTES", [-1])
    config = harness.inference().ModelConfig(oip.ModelConfigRequest(name="letters")).config
    assert config.input[0].data_type == oip.TYPE_STRING


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (tensor(b"\xff\xfe"), Reason.TENSOR_TEXT),
        (tensor(b"\xed\xa0\x80"), Reason.TENSOR_TEXT),
        (tensor(b"cash\0"), Reason.TENSOR_TEXT),
        (tensor(b"a" * (RULES.text_bytes + 1)), Reason.TENSOR_TEXT),
        (tensor(b"cash", shape=(1, 1)), Reason.TENSOR_SHAPE),
        (tensor(*[b"cash"] * 17), Reason.BATCH_TOO_LARGE),
        (Tensor.of("text", np.zeros((1, 4), np.int64)), Reason.TENSOR_DATATYPE),
        (Tensor.of("input_ids", np.zeros((1, 4), np.int64)), Reason.TENSOR_NAME),
    ],
)
def test_what_is_no_text_of_the_models_is_refused(harness, given, reason):
    assert refusal(harness.inference().ModelInfer, request(given)) is reason


def test_an_empty_text_is_a_text(harness):
    logits = read_outputs(harness.inference().ModelInfer(question("")))["logits"].data
    assert np.isfinite(logits).all()


def test_a_verdict_on_a_text_flags_and_does_not_block(harness):
    """The policy of this gateway blocks what is adversarial, yet no text is refused for it."""
    policy = harness.governance("client").policy()
    assert policy.rules.action("adversarial") == "block"
    live = harness.gateway.engine.live()["letters", "production"]
    assert not live.config.blocks
    detector = live.ready.detector
    calibration = replace(
        detector.calibration,
        scores=(-2e9,) * detector.calibration.rows,
        adversarial=replace(detector.calibration.adversarial, threshold=-1e9),
        suspect=replace(detector.calibration.suspect, threshold=-2e9),
        shifts=(),
    )
    live.ready.detector = replace(detector, calibration=calibration)
    try:
        response = harness.inference().ModelInfer(question("meet the team"))
    finally:
        live.ready.detector = detector
    receipt = Receipt.decode(response.parameters["receipt"].string_param.encode())
    assert verify_receipt(receipt, policy).fields["verdict"] == "adversarial"


def test_nothing_of_a_text_is_kept(harness):
    harness.inference().ModelInfer(question(SECRET))
    kept = dict(contents(harness.state))
    assert any(path.suffix == ".db" for path, data in kept.items() if data)
    for path, data in kept.items():
        assert SECRET.encode() not in data, path


def test_the_client_and_the_command_take_texts(harness):
    person = harness.profile("client")
    with connect(person.endpoint, **options_of(person)) as client:
        asked = np.array([b"cash prize", b"meet the team"], object)
        answer = client.infer("letters", {"text": asked})
        assert answer.outputs["logits"].shape == (2, 2)
    result = harness.command(
        "infer", "letters", "--text", "cash prize", "--text", "notes", "--json"
    )
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)) == 2
