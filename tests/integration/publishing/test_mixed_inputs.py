"""A pipeline of ages, cities and an optional bonus: from a CSV file to tritonclient."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skl2onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sealgate.oip.grpc_service_pb2 import ModelMetadataRequest
from sealgate.reasons import Reason
from sealgate.trust.receipts import Receipt, verify_receipt
from tests.support.harness.gateway import GatewayHarness, running
from tests.support.oracles.programs import python_with, run

pytestmark = pytest.mark.slow

CITIES = np.array(["Basel", "Bern", "Genf"])
TYPES = {
    "age": Int64TensorType([None, 1]),
    "city": StringTensorType([None, 1]),
    "bonus": FloatTensorType([None, 1]),
}


def people(count: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    draw = np.random.default_rng(7)
    age = draw.integers(18, 80, count)
    city = draw.choice(CITIES, count)
    bonus = draw.random(count).round(3)
    risk = age / 30 + 2 * (city == "Genf") - 2 * bonus + draw.normal(0, 0.3, count)
    columns = {"age": age, "city": city.astype(object), "bonus": bonus}
    return columns, np.where(risk > 1.6, "refused", "granted")


PEOPLE, ANSWERS = people(700)


def frame(columns: dict[str, np.ndarray]) -> np.ndarray:
    return np.stack([column.astype(object) for column in columns.values()], axis=1)


def write(file: Path, columns: dict[str, np.ndarray]) -> None:
    with file.open("w", newline="") as opened:
        csv.writer(opened).writerows([list(columns), *frame(columns).tolist()])


@pytest.fixture(scope="module")
def pipeline() -> Any:
    steps = [("numbers", StandardScaler(), [0, 2]), ("city", OneHotEncoder(), [1])]
    return make_pipeline(ColumnTransformer(steps), LogisticRegression()).fit(frame(PEOPLE), ANSWERS)


@pytest.fixture(scope="module")
def governed(pipeline: Any, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("mixed")
    file, table = folder / "loans.onnx", folder / "loans.csv"
    options = {id(pipeline): {"zipmap": False}}
    converted = skl2onnx.convert_sklearn(
        pipeline, initial_types=list(TYPES.items()), options=options
    )
    file.write_bytes(converted.SerializeToString())
    write(table, {**PEOPLE, "answer": ANSWERS})
    with running(folder / "state") as harness:
        words = ("--data", str(table), "--target", "answer", "--optional", "bonus=0")
        result = harness.command("model", "publish", str(file), *words, "--json")
        assert result.exit_code == 0, result.output
        harness.promote("loans", 1)
        yield harness, file, table


Governed = tuple[GatewayHarness, Path, Path]


def asked(governed: Governed, requests: list[dict[str, Any]]) -> Any:
    client = governed[0].profile("client")
    endpoint = client.endpoint.replace("127.0.0.1", "localhost")
    words = [endpoint, client.server_authority, client.token.read_text(), "loans"]
    program = Path(__file__).with_name("triton_tensors.py")
    done = run([python_with("tritonclient"), program, *words], json.dumps(requests))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def request(at: int, *names: str) -> dict[str, Any]:
    return {name: PEOPLE[name][at : at + 1, None].tolist() for name in names or PEOPLE}


def test_tritonclient_sends_integers_texts_and_what_it_wants_of_the_rest(
    governed: Governed, pipeline: Any
) -> None:
    told = asked(governed, [request(at) for at in range(20)] + [request(0, "age", "city")])
    metadata = told["metadata"]
    assert {each["name"]: each["datatype"] for each in metadata["inputs"]} == {
        "age": "INT64",
        "city": "BYTES",
        "bonus": "FP32",
    }
    # Its own protocol file has no properties.
    whole = governed[0].inference().ModelMetadata(ModelMetadataRequest(name="loans"))
    assert whole.properties["optional_inputs"] == "bonus"
    assert whole.properties["words.city"] == ",".join(CITIES)
    assert told["optional"] == ["bonus"]
    rows = {name: column[:20] for name, column in PEOPLE.items()}
    expected = pipeline.predict_proba(frame(rows))
    pairs = [(each, own) for each, own in zip(told["answers"][:20], expected, strict=True)]
    answered = [(each["answer"], own) for each, own in pairs if "answer" in each]
    assert len(answered) > 10
    for found, own in answered:
        assert found[0] == pytest.approx(own, abs=1e-4)
    without = frame({name: column[:1] for name, column in PEOPLE.items()} | {"bonus": np.zeros(1)})
    left_out = told["answers"][20]
    assert left_out["answer"][0] == pytest.approx(pipeline.predict_proba(without)[0], abs=1e-4)
    receipt = Receipt.decode(left_out["receipt"].encode())
    assert verify_receipt(receipt, governed[0].governance("client").policy()).fields["model"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"city": [["Rom"]]}, "TENSOR_TEXT"),
        ({"age": [[2**40]]}, "TENSOR_RANGE"),
        ({"age": [[500]]}, "TENSOR_RANGE"),
        ({"age": [[30], [40]]}, "TENSOR_SHAPE"),
        ({"other": [[1.0]]}, "TENSOR_NAME"),
        ({"age": None}, "TENSOR_NAME"),
    ],
)
def test_what_the_model_was_not_described_with_is_refused(
    governed: Governed, change: dict[str, Any], reason: str
) -> None:
    sent = {name: value for name, value in (request(0) | change).items() if value is not None}
    (answer,) = asked(governed, [sent])["answers"]
    assert answer["reason"] == Reason[reason].sentence


def test_the_command_line_reads_a_table_with_a_header(governed: Governed, tmp_path: Path) -> None:
    harness = governed[0]
    table = tmp_path / "rows.csv"
    write(table, {name: column[:2] for name, column in PEOPLE.items()})
    result = harness.command("infer", "loans", "--input", str(table), "--json")
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)) == 2


def test_the_row_is_described_column_by_column(governed: Governed) -> None:
    harness, file, table = governed
    words = ("--data", str(table), "--target", "answer", "--json")
    result = harness.command("model", "check", str(file), *words)
    assert result.exit_code == 0, result.output
    takes = json.loads(result.stdout)["takes"]
    assert takes.startswith("age INT64, city BYTES, bonus FP32")
    assert "screened by the gradient" in takes
