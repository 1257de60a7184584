"""ModelInfer through the gateway: answers, receipts, and the reason of every refusal."""

import struct

import grpc
import numpy as np
import pytest
from safetensors.numpy import load_file

from inference.screening.gradient_attacks import PGD_SHARE, PGD_STEPS, pgd
from sealgate.audit import Auditor
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from sealgate.tensors import Tensor, read_inputs, read_outputs
from sealgate.trust.receipts import Receipt, verify_receipt
from sealgate.trust.receipts.answer_entry import FIELDS, tensors_digest
from sealgate.v1 import log_pb2
from tests.support.harness.gateway import DATA, MODELS, question, refusal, rows


@pytest.fixture
def stub(harness):
    return harness.inference()


def test_an_answer_comes_with_its_version_and_id(stub):
    request = question("digits", rows(count=3))
    request.id = "case-7"
    response = stub.ModelInfer(request, timeout=60)
    assert (response.model_name, response.model_version, response.id) == ("digits", "1", "case-7")
    (logits,) = read_outputs(response).values()
    assert logits.data.shape == (3, 10)
    assert not response.parameters


def test_typed_contents_answer_as_raw_ones_do(stub):
    raw = question("digits", rows())
    typed = oip.ModelInferRequest(model_name="digits")
    tensor = typed.inputs.add(name="x", datatype="FP32", shape=[1, 64])
    tensor.contents.fp32_contents.extend(rows().ravel().tolist())
    answers = [stub.ModelInfer(item, timeout=60).raw_output_contents[0] for item in (raw, typed)]
    assert answers[0] == answers[1]


def test_the_receipt_opens_the_callers_fields_and_binds_both_tensors(harness, stub):
    request = question("digits", rows(), receipt=True)
    request.parameters["subject"].string_param = "patient-17"
    response = stub.ModelInfer(request, timeout=60)
    receipt = Receipt.decode(response.parameters["receipt"].string_param.encode())
    fields = verify_receipt(receipt, harness.governance("client").policy()).fields
    assert set(FIELDS) - set(fields) == {"score", "threshold"}
    assert fields["principal"] == "client"
    assert (fields["outcome"], fields["verdict"]) == ("answered", "clean")
    digests = [
        tensors_digest((t.name, t.datatype, t.shape, t.raw) for t in tensors.values())
        for tensors in (read_inputs(request), read_outputs(response))
    ]
    assert [fields["input"], fields["output"]] == digests


def test_an_auditor_is_shown_more_than_the_caller(harness, stub):
    request = question("digits", rows(), receipt=True)
    receipt = Receipt.decode(
        stub.ModelInfer(request, timeout=60).parameters["receipt"].string_param.encode()
    )
    policy = harness.governance("auditor").policy()
    auditor = Auditor(harness.channel("auditor"), policy)
    (origin,) = (o for o in auditor.origins() if policy.is_answer_log(o))
    request = log_pb2.OpenEntryRequest(origin=origin, index=receipt.proof.index)
    opened = Receipt.decode(harness.logs().OpenEntry(request).receipt)
    fields = verify_receipt(opened, policy).fields
    assert set(fields) == set(FIELDS)
    assert float(fields["score"]) <= float(fields["threshold"])


def test_an_adversarial_input_is_refused_with_a_receipt_and_without_a_score(harness, stub):
    import onnxruntime

    data = load_file(DATA / "digits.safetensors")
    session = onnxruntime.InferenceSession(
        MODELS / "digits-standard" / "response.onnx", providers=["CPUExecutionProvider"]
    )
    clean, labels = data["x_test"][:64].astype(np.float32), data["y_test"][:64]
    attacked = pgd(session, clean, labels, 0.2, 0.2 / PGD_SHARE, PGD_STEPS, 0.0, 1.0)
    for row in attacked:
        try:
            stub.ModelInfer(question("digits", row[None], receipt=True), timeout=60)
        except grpc.RpcError as error:
            refused = error
            break
    else:
        pytest.fail("64 attacked inputs went through")
    assert refusal(stub.ModelInfer, question("digits", row[None])) is Reason.ADVERSARIAL_INPUT
    (raw,) = (value for key, value in refused.trailing_metadata() if key == "sealgate-receipt-bin")
    fields = verify_receipt(Receipt.decode(raw), harness.governance("client").policy()).fields
    assert fields["outcome"] == Reason.ADVERSARIAL_INPUT.name
    assert fields["verdict"] == "adversarial"
    assert (fields["screening"], fields["arithmetic"]) == ("full", "int8")
    assert fields["actions"] == "blocked"
    assert not {"score", "threshold"} & set(fields)
    assert refused.details() == Reason.ADVERSARIAL_INPUT.sentence


# Refused before anybody looks at it.
ROW = np.zeros((1, 64), np.float32)


def bytes_tensor(raw):
    request = oip.ModelInferRequest(model_name="digits")
    request.inputs.add(name="x", datatype="BYTES", shape=[1])
    request.raw_input_contents.append(raw)
    return request


def changed(**changes):
    request = question("digits", ROW)
    for name, value in changes.items():
        target = request if name.startswith("model") else request.inputs[0]
        if name == "shape":
            del target.shape[:]
            target.shape.extend(value)
        else:
            setattr(target, name, value)
    return request


def with_parameter(name, **choice):
    request = question("digits", ROW)
    request.parameters[name].CopyFrom(oip.InferParameter(**choice))
    return request


def with_raw(*raws):
    request = question("digits", ROW)
    del request.raw_input_contents[:]
    request.raw_input_contents.extend(raws)
    return request


def with_outputs(*names, x=ROW):
    request = question("digits", x)
    for name in names:
        request.outputs.add(name=name)
    return request


REFUSED = {
    "unknown model": (question("unknown", ROW), Reason.MODEL_UNKNOWN),
    "malformed model": (changed(model_name="../x"), Reason.NAME_MALFORMED),
    "version is no number": (changed(model_version="one"), Reason.VERSION_MALFORMED),
    "version is zero": (changed(model_version="0"), Reason.VERSION_MALFORMED),
    "version is negative": (changed(model_version="-1"), Reason.VERSION_MALFORMED),
    "version has a sign": (changed(model_version="+1"), Reason.VERSION_MALFORMED),
    "version that no pointer names": (changed(model_version="2"), Reason.VERSION_NOT_LIVE),
    "unknown alias": (with_parameter("alias", string_param="canary"), Reason.ALIAS_UNKNOWN),
    "alias of a wrong type": (with_parameter("alias", bool_param=True), Reason.PARAMETER_MALFORMED),
    "unknown parameter": (with_parameter("x", bool_param=True), Reason.PARAMETER_MALFORMED),
    "receipt of a wrong type": (
        with_parameter("receipt", string_param="yes"),
        Reason.PARAMETER_MALFORMED,
    ),
    "empty subject": (with_parameter("subject", string_param=""), Reason.PARAMETER_MALFORMED),
    "wrong data type": (changed(datatype="INT32"), Reason.TENSOR_DATATYPE),
    "unknown data type": (changed(datatype="FP8"), Reason.TENSOR_DATATYPE),
    "wrong shape": (question("digits", ROW[:, :10]), Reason.TENSOR_SHAPE),
    "no rows": (question("digits", ROW[:0]), Reason.TENSOR_SHAPE),
    "one dimension": (changed(shape=[64]), Reason.TENSOR_SHAPE),
    "negative shape": (changed(shape=[-1, 64]), Reason.TENSOR_SHAPE),
    "overflowing shape": (changed(shape=[2**60, 64]), Reason.TENSOR_SHAPE),
    "wrong name": (changed(name="y"), Reason.TENSOR_NAME),
    "byte count": (with_raw(ROW.tobytes()[:-1]), Reason.TENSOR_BYTES),
    "surplus raw entries": (with_raw(ROW.tobytes(), ROW.tobytes()), Reason.RAW_CONTENTS_MISMATCH),
    "no contents": (with_raw(), Reason.TENSOR_BYTES),
    "bytes with a lying length": (
        bytes_tensor(struct.pack("<I", 2**31) + b"x"),
        Reason.TENSOR_BYTES,
    ),
    "NaN": (question("digits", np.full((1, 64), np.nan)), Reason.TENSOR_NOT_FINITE),
    "infinity": (question("digits", np.full((1, 64), np.inf)), Reason.TENSOR_NOT_FINITE),
    "outside the domain": (question("digits", np.full((1, 64), 1.5)), Reason.TENSOR_RANGE),
    "too many rows": (question("digits", np.zeros((1000, 64))), Reason.BATCH_TOO_LARGE),
    "unknown output": (with_outputs("scores"), Reason.OUTPUT_UNKNOWN),
    "output twice": (with_outputs("logits", "logits"), Reason.TENSOR_DUPLICATE),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_requests_have_their_reason(stub, name):
    request, reason = REFUSED[name]
    assert refusal(stub.ModelInfer, request, timeout=60) is reason


def test_every_refusal_of_a_known_caller_is_recorded(harness, stub):
    size = harness.gateway.recorder.size
    refusal(stub.ModelInfer, question("unknown", rows()), timeout=60)
    assert harness.gateway.recorder.size == size + 1


def test_too_large_a_message_has_its_reason(stub):
    request = question("digits", np.zeros((20_000, 64)))
    assert refusal(stub.ModelInfer, request, timeout=60) is Reason.MESSAGE_TOO_LARGE


def test_a_far_larger_message_is_not_even_read(stub):
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(question("digits", np.zeros((50_000, 64))), timeout=60)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_metadata_of_the_model(stub):
    metadata = stub.ModelMetadata(oip.ModelMetadataRequest(name="digits"), timeout=60)
    assert list(metadata.versions) == ["1"]
    assert list(metadata.inputs[0].shape) == [-1, 64]
    assert metadata.properties["digest"].startswith("sha256:")
    assert stub.ModelReady(oip.ModelReadyRequest(name="digits", version="1")).ready
    assert not stub.ModelReady(oip.ModelReadyRequest(name="digits", version="2")).ready
    assert stub.ServerMetadata(oip.ServerMetadataRequest()).name == "sealgate"
    assert stub.ServerReady(oip.ServerReadyRequest()).ready


def test_tensor_of_the_answer_can_be_asked_for_by_name(stub):
    response = stub.ModelInfer(with_outputs("logits", x=rows()), timeout=60)
    assert [output.name for output in response.outputs] == ["logits"]
    assert Tensor.of("logits", read_outputs(response)["logits"].data).datatype == "FP32"
