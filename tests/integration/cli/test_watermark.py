"""`sealgate watermark`, as a publisher, an arbiter and an auditor use it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

from publishing.cli import publish
from publishing.quantization import quantize
from publishing.serialization import parse_model
from publishing.watermark.carrier_weights import read_carriers, write_carriers
from publishing.watermark.key import Mark
from registry.formats.bounded_bytes import MemoryBytes
from registry.formats.format_check import PARENT, check_source
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical
from sealgate.v1 import registry_pb2 as messages
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.harness.gateway import DATA, MODELS, GatewayHarness, running

ORIGINAL = MODELS / "digits-standard" / "serving.onnx"
NAMES = ("model.fp32.onnx", "model.int8.onnx")


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayHarness]:
    with running(tmp_path_factory.mktemp("watermark") / "state", "digits-standard") as harness:
        yield harness


@pytest.fixture(scope="module")
def files(harness: GatewayHarness, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The version's float32 and INT8 models, and a copy for a recipient."""
    folder = tmp_path_factory.mktemp("files")
    for name in NAMES:
        asked = messages.DownloadFileRequest(name="models/digits/versions/1", path=name)
        parts = harness.registry("publisher").DownloadFile(asked)
        (folder / name).write_bytes(b"".join(part.chunk for part in parts))
    words = ("--recipient", "north", "--out", str(folder / "north.onnx"))
    told = shown(harness, "watermark", "export", "digits", "1", *words)
    assert told["copies_that_may_be_averaged"] >= 1
    return folder


def shown(harness: GatewayHarness, *words: str, person: str | None = None) -> Any:
    result = harness.command(*words, "--json", person=person)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(harness: GatewayHarness, *words: str, person: str | None = None) -> str:
    result = harness.command(*words, person=person)
    assert result.exit_code == 1, result.output
    return str(result.stderr).removeprefix("Error: ").partition(":")[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_alone_says_which_version_it_is(
    harness: GatewayHarness, files: Path, name: str
) -> None:
    found = shown(harness, "watermark", "verify", str(files / name), "--blind")
    version = shown(harness, "model", "show", "digits", "1")
    assert (found["model"], found["digest"]) == ("digits", version["digest"])
    assert (found["reading"], found["recipients"]) == ("blind", {})
    assert found["z"] > 15


def test_a_file_that_is_not_ours_is_told_apart(harness: GatewayHarness) -> None:
    result = harness.command("watermark", "verify", str(ORIGINAL), "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert (told["found"], told["marks_tried"]) == ("nothing", 1)


def test_neurons_in_another_order_are_read_by_the_registry_s_copy(
    harness: GatewayHarness, files: Path, tmp_path: Path
) -> None:
    model = parse_model((files / "north.onnx").read_bytes())
    carriers = read_carriers(model)
    rng = np.random.default_rng(1)
    moved = [each.values[rng.permutation(len(each.values))] for each in carriers]
    path = tmp_path / "stolen.onnx"
    path.write_bytes(write_carriers(model, carriers, moved))
    blind = harness.command("watermark", "verify", str(path), "--blind")
    assert blind.exit_code == 1
    found = shown(harness, "watermark", "verify", str(path))
    assert found["reading"].startswith("not blind")
    assert list(found["recipients"]) == ["north"]


def test_a_copy_names_its_recipient_and_is_no_version(
    harness: GatewayHarness, files: Path, tmp_path: Path
) -> None:
    found = shown(harness, "watermark", "verify", str(files / "north.onnx"), "--blind")
    assert list(found["recipients"]) == ["north"]
    data = (files / "north.onnx").read_bytes()
    version = shown(harness, "model", "show", "digits", "1")
    assert check_source("north.onnx", MemoryBytes(data))[PARENT] == version["digest"]
    folder = tmp_path / "digits-copy"
    folder.mkdir()
    for path in (MODELS / "digits-standard").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "serving.onnx").write_bytes(data)
    words = ("model", "publish", str(folder), "--data", str(DATA / "digits.safetensors"))
    assert refused(harness, *words) == "COPY_REFUSED"


def test_a_recipient_gets_one_copy_of_a_version(
    harness: GatewayHarness, files: Path, tmp_path: Path
) -> None:
    again = ("--recipient", "north", "--out", str(tmp_path / "again.onnx"))
    assert refused(harness, "watermark", "export", "digits", "1", *again) == "KEY_FILE_EXISTS"
    assert not (tmp_path / "again.onnx").exists()


def test_a_proof_settles_whose_a_file_is(
    harness: GatewayHarness, files: Path, tmp_path: Path
) -> None:
    proof = tmp_path / "proof.json"
    shown(harness, "watermark", "prove", "digits", "1", "--out", str(proof))
    assert proof.stat().st_mode & 0o777 == 0o600
    settle = ("watermark", "settle", str(files / "north.onnx"), "--claim", str(proof))
    (finding,) = shown(harness, *settle, str(ORIGINAL), person="auditor")
    assert finding["found"] == "holds"
    other = str(files / NAMES[0])
    result = harness.command(*settle, other, "--json", person="auditor")
    assert result.exit_code == 1
    assert json.loads(result.stdout)[0]["found"] == "falls at step 2"


def test_what_the_log_or_the_publisher_has_lost_proves_nothing(
    harness: GatewayHarness, files: Path, tmp_path: Path
) -> None:
    digest = shown(harness, "model", "show", "digits", "1")["digest"]
    folder = harness.state / "people" / "publisher" / "watermarks"
    (path,) = (path for path in folder.glob("*.mark.json") if digest in path.read_text())
    whole = path.read_bytes()
    words = ("watermark", "prove", "digits", "1", "--out", str(tmp_path / "proof.json"))
    try:
        path.write_bytes(canonical.encode({**json.loads(whole), "entry": 999}))
        assert refused(harness, *words) == "LOG_INCONSISTENT"
        path.unlink()
        assert refused(harness, *words) == "COMMITMENT_UNKNOWN"
    finally:
        path.write_bytes(whole)
        path.chmod(0o600)
    assert not (tmp_path / "proof.json").exists()


def test_an_auditor_checks_what_a_publisher_attests(
    harness: GatewayHarness, tmp_path: Path
) -> None:
    check = tmp_path / "check.json"
    shown(harness, "watermark", "attest", "digits", "1", "--out", str(check))
    words = ("audit", "watermark", str(check), "--model", "digits", "1")
    told = shown(harness, *words, person="auditor")
    assert (told["signed_by"], float(told["z_int8"]) > 12) == ("publisher", True)
    envelope = json.loads(check.read_text())
    envelope["payload"] = envelope["payload"][:-8] + "AAAA" + envelope["payload"][-4:]
    check.write_text(json.dumps(envelope))
    assert harness.command(*words, person="auditor").exit_code == 1


def test_a_file_is_marked_and_found_again(harness: GatewayHarness, tmp_path: Path) -> None:
    target = tmp_path / "marked.onnx"
    words = ("watermark", "embed", str(ORIGINAL), str(target), "--model", "digits")
    marked = shown(harness, *words)
    assert marked["payload"].startswith("presence only")
    entry = shown(harness, "audit", "show", "registry", str(marked["entry"]))
    assert entry["event"] == "watermark.committed"
    found = shown(harness, "watermark", "verify", str(target), "--blind")
    assert found["digest"] == marked["digest"]


def test_integers_alone_are_marked_too(
    harness: GatewayHarness, files: Path, tmp_path: Path
) -> None:
    source, target = tmp_path / "int8.onnx", tmp_path / "steps.onnx"
    network = Perceptron.random(3, inputs=256, hidden=1024, classes=10)
    rows = np.random.default_rng(7).random((128, 256), np.float32)
    source.write_bytes(quantize(network.serving(), "x", rows))
    words = ("--model", "digits", "--integers")
    marked = shown(harness, "watermark", "embed", str(source), str(target), *words)
    found = shown(harness, "watermark", "verify", str(target), "--blind")
    assert found["commitment"] == marked["commitment"]
    # Steps of one are too small for a model of sixteen thousand weights.
    small = (str(files / NAMES[1]), str(tmp_path / "small.onnx"))
    assert refused(harness, "watermark", "embed", *small, *words) == "WATERMARK_CAPACITY"
    assert not (tmp_path / "small.onnx").exists()


@pytest.mark.parametrize("dear", [1, 4])
def test_another_mark_is_drawn_where_one_costs_too_much(
    harness: GatewayHarness, monkeypatch: pytest.MonkeyPatch, dear: int
) -> None:
    drawn: list[Mark] = []

    def build(source: Any, data: Any, mark: Mark, **others: Any) -> Any:
        drawn.append(mark)
        if len(drawn) <= dear:
            raise SealgateError(Reason.WATERMARK_COST, "3.00% of the test slice")
        raise SealgateError(Reason.WORKER_LIMIT, "that one was built")

    monkeypatch.setattr(publish, "build_version", build)
    words = (str(MODELS / "digits-hardened"), "--data", str(DATA / "digits.safetensors"))
    last = "WATERMARK_COST" if dear == 4 else "WORKER_LIMIT"
    told = harness.command("model", "publish", *words).stderr
    assert told.count("another is drawn") == len(drawn) - 1
    assert f"Error: {last}" in told
    assert len({mark.payload for mark in drawn}) == len(drawn) == min(dear + 1, 4)


def test_who_keeps_no_keys_can_read_no_marks(harness: GatewayHarness, files: Path) -> None:
    words = ("watermark", "verify", str(files / NAMES[0]), "--blind")
    assert refused(harness, *words, person="auditor") == "KEY_UNREADABLE"


@pytest.mark.parametrize("kind", ["no model", "cut short", "NaN"])
def test_files_that_hold_no_weights_are_refused(
    harness: GatewayHarness, files: Path, tmp_path: Path, kind: str
) -> None:
    whole = (files / NAMES[0]).read_bytes()
    broken = parse_model(whole)
    tensor = max(broken.graph.initializer, key=lambda each: len(each.raw_data))
    values = np.full(tuple(tensor.dims), np.nan, np.float32)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    data = {
        "no model": b"%PDF-1.7 nothing of the kind",
        "cut short": whole[: len(whole) // 2],
        "NaN": broken.SerializeToString(),
    }
    path = tmp_path / "found.onnx"
    path.write_bytes(data[kind])
    assert refused(harness, "watermark", "verify", str(path), "--blind") == "FORMAT_REFUSED"
