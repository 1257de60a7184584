"""A folder in Hugging Face's layout: what is taken from it, and what to do where nothing is."""

import json
from pathlib import Path
from typing import Any

import pytest

from publishing.ready.reading import is_huggingface, read_huggingface
from registry.sandbox.confinement import Confinement
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import sha256

RESNET: dict[str, Any] = {
    "model_type": "resnet",
    "architectures": ["ResNetForImageClassification"],
    "id2label": {"1": "dog", "0": "cat"},
}


def folder(place: Path, config: object, **files: bytes) -> Path:
    (place / "onnx").mkdir()
    (place / "config.json").write_text(json.dumps(config))
    (place / "README.md").write_text("---\nlicense: mit\n---\n")
    for name, data in files.items():
        (place / name.replace("__", "/").replace("_", ".")).write_bytes(data)
    return place


@pytest.mark.parametrize("name", ["model_onnx", "onnx__model_onnx"])
def test_the_onnx_file_comes_with_labels_and_all_files_as_evidence(
    tmp_path: Path, name: str
) -> None:
    place = folder(tmp_path, RESNET, **{name: b"\x08\x09"})
    assert is_huggingface(place)
    found = read_huggingface(place, Confinement())
    assert (found.onnx, found.labels) == (b"\x08\x09", ("cat", "dog"))
    assert found.origin is not None
    found.origin.check({"model.onnx": b"\x08\x09"})
    definition = found.origin.statement["predicate"]["buildDefinition"]
    told = definition["externalParameters"]
    assert told["huggingface"]["model_type"] == "resnet"
    assert told["model_signature"] == "unsigned"
    digests = {each["name"]: each["digest"] for each in definition["resolvedDependencies"]}
    card = (place / "README.md").read_bytes()
    assert digests["README.md"] == {"sha256": sha256(card).removeprefix("sha256:")}


@pytest.mark.parametrize(
    ("config", "advice"),
    [
        (RESNET, "optimum-cli export onnx"),
        ({"model_type": "bert", "vocab_size": 99}, "sealgate import"),
        ({"model_type": "mamba", "vocab_size": 99}, "known are bert, llama, qwen2, t5"),
        ([], "describes no model"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_what_to_do(
    tmp_path: Path, config: object, advice: str
) -> None:
    with pytest.raises(SealgateError) as refused:
        read_huggingface(folder(tmp_path, config), Confinement())
    assert refused.value.reason is Reason.FORMAT_REFUSED
    assert advice in refused.value.detail


def test_labels_that_are_not_numbered_from_zero_are_not_taken(tmp_path: Path) -> None:
    place = folder(tmp_path, RESNET | {"id2label": {"1": "a", "2": "b"}}, model_onnx=b"x")
    assert read_huggingface(place, Confinement()).labels == ()


def test_a_folder_of_ours_is_none(tmp_path: Path) -> None:
    assert not is_huggingface(folder(tmp_path, RESNET, model_json=b"{}"))
