"""The bill of materials, held against the format's own schema."""

from datetime import UTC, datetime
from typing import Any

import pytest

from publishing.evidence.bom import DataFile, ml_bom
from sealgate.trust import canonical
from sealgate.trust.canonical import sha256
from sealgate.trust.statements import Manifest
from tests.support.builders.models.model_documents import model_config
from tests.support.oracles.bills import is_valid_bill

NOW = datetime(2026, 11, 25, 10, tzinfo=UTC)
MANIFEST = Manifest.of({"model.json": b"{}", "model.int8.onnx": b"weights"})
DATA = DataFile(sha256(b"rows"), 4)


def bill(licence: str = "CC-BY-4.0") -> dict[str, Any]:
    config = model_config(data={"name": "Digits", "license": licence})
    return ml_bom(config, MANIFEST, DATA, {"INT8 served": 0.97531}, NOW)


@pytest.mark.parametrize("licence", ["CC-BY-4.0", "ours, all rights reserved"])
def test_the_bill_is_strictly_valid_cyclonedx_1_6(licence: str) -> None:
    assert is_valid_bill(bill(licence))


def test_the_validator_would_have_noticed() -> None:
    broken = bill()
    broken["metadata"]["component"]["modelCard"]["surprise"] = 1
    assert not is_valid_bill(broken)


def test_the_bill_is_deterministic_and_names_the_version() -> None:
    assert canonical.encode(bill()) == canonical.encode(bill())
    assert bill()["metadata"]["component"]["version"] == MANIFEST.digest
    other = ml_bom(model_config(), Manifest.of({"model.json": b"[]"}), DATA, {}, NOW)
    assert other["serialNumber"] != bill()["serialNumber"]


def test_every_file_and_the_data_are_listed_with_their_hashes() -> None:
    hashes = {each["name"]: each["hashes"][0]["content"] for each in bill()["components"]}
    assert hashes == {
        "Digits": DATA.digest.removeprefix("sha256:"),
        **{entry.path: entry.digest.removeprefix("sha256:") for entry in MANIFEST.files},
    }


def test_the_model_card_holds_task_shapes_and_accuracy() -> None:
    card = bill()["metadata"]["component"]["modelCard"]
    assert card["modelParameters"]["inputs"] == [{"format": "FP32 [n, 64]"}]
    assert card["modelParameters"]["datasets"] == [{"ref": "data"}]
    assert card["quantitativeAnalysis"]["performanceMetrics"] == [
        {"type": "accuracy", "value": "0.9753", "slice": "test, INT8 served"}
    ]
    assert card["considerations"]["useCases"] == ["Demonstration."]


def test_a_tables_columns_are_in_the_model_card() -> None:
    columns = [{"name": "age", "step": 1, "immutable": True}, {"name": "rate"}]
    columns += [{"name": "purpose", "word": word} for word in ("car", "radio")]
    wide = {"name": "x", "datatype": "FP32", "shape": [-1, 4]}
    config = model_config(columns=columns, input=wide, domain={"min": 0, "max": 80})
    made = ml_bom(config, MANIFEST, DATA, {}, NOW, {"sealgate:z": "last"})
    card = made["metadata"]["component"]["modelCard"]
    assert [(each["name"], each["value"]) for each in card["properties"]] == [
        ("sealgate:z", "last"),
        ("sealgate:column:age", "in steps of 1; immutable"),
        ("sealgate:column:rate", "any number"),
        ("sealgate:column:purpose", "one of car, radio"),
    ]
    assert is_valid_bill(made)
