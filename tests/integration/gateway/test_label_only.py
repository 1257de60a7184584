"""A verdict that leads to `label-only`: the likeliest class of each row leaves, and no logits."""

import numpy as np
import onnxruntime
import pytest
from safetensors.numpy import load_file

from inference.screening.gradient_attacks import PGD_SHARE, PGD_STEPS, pgd
from sealgate.tensors import read_outputs
from sealgate.trust.receipts import Receipt, verify_receipt
from sealgate.trust.receipts.answer_entry import tensors_digest
from tests.support.harness.gateway import DATA, MODELS, question, rows, running
from tests.support.harness.policy_changes import change


@pytest.fixture(scope="module")
def harness(tmp_path_factory):
    with running(tmp_path_factory.mktemp("house") / "state", "digits-standard") as harness:
        harness.promote("digits", 1)
        change(harness, lambda policy: policy["screening"].update(adversarial="label-only"))
        yield harness


@pytest.fixture(scope="module")
def attacked():
    data = load_file(DATA / "digits.safetensors")
    session = onnxruntime.InferenceSession(
        MODELS / "digits-standard" / "response.onnx", providers=["CPUExecutionProvider"]
    )
    clean, labels = data["x_test"][:64].astype(np.float32), data["y_test"][:64]
    return pgd(session, clean, labels, 0.2, 0.2 / PGD_SHARE, PGD_STEPS, 0.0, 1.0)


def test_an_attacked_input_gets_its_label_alone(harness, attacked):
    ask = harness.inference().ModelInfer
    for row in attacked:
        response = ask(question("digits", row[None], receipt=True), timeout=60)
        outputs = read_outputs(response)
        if "label" in outputs:
            break
    else:
        pytest.fail("64 attacked inputs were found clean")
    assert set(outputs) == {"label"}
    label = outputs["label"]
    assert (label.datatype, label.data.shape, label.data.dtype) == ("INT64", (1,), np.int64)
    assert 0 <= label.data[0] < 10
    # The receipt stands for what left, and says nothing of why.
    receipt = Receipt.decode(response.parameters["receipt"].string_param.encode())
    fields = verify_receipt(receipt, harness.governance("client").policy()).fields
    digest = tensors_digest((t.name, t.datatype, t.shape, t.raw) for t in outputs.values())
    assert (fields["outcome"], fields["output"]) == ("answered", digest)
    assert fields["actions"] == "label-only"
    assert "score" not in fields


def test_a_clean_input_gets_all(harness):
    response = harness.inference().ModelInfer(question("digits", rows(count=2)), timeout=60)
    assert set(read_outputs(response)) == {"logits"}
