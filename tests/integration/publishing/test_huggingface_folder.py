"""A folder in Hugging Face's layout, trained and exported here, is published and asked."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from benchmarks.anymodel.subjects import MODELS, ReadyModel
from publishing.evidence.signing import TRAINING
from sealgate.reasons import Reason
from sealgate.trust.dsse import Envelope
from sealgate.trust.statements import Evidence
from sealgate.v1.registry_pb2 import GetVersionRequest
from tests.support.harness.gateway import GatewayHarness, running

pytestmark = pytest.mark.long

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def written(made: ReadyModel, folder: Path) -> Path:
    """The files that `save_pretrained` and an export write of it."""
    network = made.module.network
    network.config.id2label = dict(enumerate(WORDS))
    network.save_pretrained(folder)
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(made.onnx)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    return folder


def answered(harness: GatewayHarness, folder: Path, rows: np.ndarray) -> tuple[int, str]:
    """The first of the rows that screening does not refuse, and the label of its answer."""
    for at, row in enumerate(rows):
        np.save(folder / "row.npy", row[None])
        words = ("--input", str(folder / "row.npy"), "--receipt", str(folder / "receipt.json"))
        told = harness.command("infer", "digits-vit", *words, "--json", person="client")
        if told.exit_code == 0:
            return at, json.loads(told.stdout)[0]["label"]
        assert Reason.ADVERSARIAL_INPUT.name in told.output
    raise AssertionError("screening refused all of them")


def test_it_is_governed_as_it_answers(tmp_path: Path) -> None:
    made = MODELS["vit"]()
    folder = written(made, tmp_path / "digits-vit")
    save_file({"x": made.x, "y": made.y}, tmp_path / "data.safetensors")
    with running(tmp_path / "state") as harness:
        words = ("--data", str(tmp_path / "data.safetensors"), "--domain", "0,1", "--json")
        told = harness.command("import", "huggingface", str(folder), *words)
        assert told.exit_code == 0, told.output
        assert json.loads(told.stdout)["model"] == "digits-vit"
        harness.promote("digits-vit", 1)
        at, label = answered(harness, tmp_path, made.x[:20])
        assert label == WORDS[made.answers(made.x[at : at + 1]).argmax()]
        receipt = str(tmp_path / "receipt.json")
        checked = harness.command("receipt", "verify", receipt, person="client")
        assert checked.exit_code == 0, checked.output
        request = GetVersionRequest(name="models/digits-vit/versions/1")
        version = harness.registry("auditor").GetVersion(request).version
    items = [Evidence.decode(Envelope.decode(each).payload) for each in version.evidence]
    (body,) = [item.body for item in items if item.kind == TRAINING]
    definition = body["predicate"]["buildDefinition"]
    assert definition["externalParameters"]["huggingface"]["model_type"] == "vit"
    names = {each["name"] for each in definition["resolvedDependencies"]}
    assert {"config.json", "model.safetensors", "onnx/model.onnx", "README.md"} <= names
