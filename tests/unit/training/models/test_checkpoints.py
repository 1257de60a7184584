"""`sealgate import`: safetensors alone, no code, a private copy that was hashed."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from sealgate.reasons import Reason, SealgateError
from tests.support.builders.documents.people import refused as refused_with
from training.models import checkpoints, families
from training.models.checkpoints import INDEX, read_imported, take_in

WEIGHTS = {"embeddings.weight": np.ones((4, 2), np.float32)}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (folder / "vocab.txt").write_text("a\nb\n")
    save_file(WEIGHTS, folder / "model.safetensors")
    return folder


def refused(source: Path) -> SealgateError:
    target = source.parent / "copy"
    with pytest.raises(SealgateError) as found:
        take_in(source, target)
    assert not target.exists()
    return found.value


def test_a_folder_is_copied_with_its_hashes(source: Path) -> None:
    (source / "README.md").write_text("about")
    (source / "modeling.py").write_text("raise SystemExit")
    (source / "pytorch_model.bin").write_bytes(pickle.dumps(1))
    found = take_in(source, source.parent / "copy")
    assert found.ignored == ("README.md", "modeling.py", "pytorch_model.bin")
    assert sorted(found.files) == ["config.json", "model.safetensors", "vocab.txt"]
    again = read_imported(source.parent / "copy")
    assert (again.digest, again.origin) == (found.digest, "source")
    assert (source.parent / "copy").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pkl", "tf_model.h5"])
def test_pickles_are_refused_with_what_to_do(source: Path, name: str) -> None:
    (source / "model.safetensors").unlink()
    (source / name).write_bytes(pickle.dumps(WEIGHTS))
    found = refused(source)
    assert found.reason is Reason.CHECKPOINT_REFUSED
    assert name in found.detail
    assert "save_pretrained" in found.detail


@pytest.mark.parametrize(
    "config",
    ['{"model_type": "x", "auto_map": {"AutoModel": "m.M"}}', "{}", "[]", "not JSON"],
)
def test_code_of_its_own_and_other_configurations_are_refused(source: Path, config: str) -> None:
    (source / "config.json").write_text(config)
    assert refused(source).reason is Reason.CHECKPOINT_REFUSED


def test_a_tokenizers_code_is_refused(source: Path) -> None:
    (source / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": ["t.T", null]}}')
    assert refused(source).reason is Reason.CHECKPOINT_REFUSED


def test_what_only_ends_in_safetensors_is_refused(source: Path) -> None:
    (source / "model.safetensors").write_bytes(pickle.dumps(WEIGHTS))
    assert refused(source).reason is Reason.CHECKPOINT_REFUSED


def test_an_index_must_list_what_is_there(source: Path) -> None:
    index = {"weight_map": {"embeddings.weight": "model.safetensors", "more": "model.safetensors"}}
    (source / checkpoints.INDEX).write_text(json.dumps(index))
    assert refused(source).reason is Reason.CHECKPOINT_REFUSED
    del index["weight_map"]["more"]
    (source / checkpoints.INDEX).write_text(json.dumps(index))
    assert take_in(source, source.parent / "copy").files.keys() >= {checkpoints.INDEX}


def test_no_link_is_followed(source: Path) -> None:
    (source.parent / "secret").write_text("{}")
    (source / "vocab.txt").unlink()
    (source / "vocab.txt").symlink_to(source.parent / "secret")
    assert refused(source).reason is Reason.PATH_UNSAFE


def test_a_folder_that_is_there_is_left_alone(source: Path) -> None:
    (source.parent / "copy").mkdir()
    with pytest.raises(SealgateError) as found:
        take_in(source, source.parent / "copy")
    assert found.value.reason is Reason.RUN_FOREIGN


def test_a_copy_that_changed_since_is_refused(source: Path) -> None:
    copy = source.parent / "copy"
    take_in(source, copy)
    (copy / "vocab.txt").write_text("a\nc\n")
    with pytest.raises(SealgateError) as changed:
        read_imported(copy)
    assert changed.value.reason is Reason.DIGEST_MISMATCH
    (copy / "vocab.txt").write_text("a\nb\n")
    (copy / "more.safetensors").write_bytes(b"")
    with pytest.raises(SealgateError) as more:
        read_imported(copy)
    assert more.value.reason is Reason.FILE_SURPLUS


def test_a_hubs_name_without_a_network_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert checkpoints.is_hub_name("owner/model")
    assert not checkpoints.is_hub_name(str(tmp_path))
    with pytest.raises(SealgateError) as found:
        checkpoints.fetch("owner/model", tmp_path / "copy")
    assert found.value.reason is Reason.FILE_MISSING
    assert "network" in found.value.detail


@pytest.mark.parametrize("named", [[{}], [["x"]], [], None, {"0": "x"}])
def test_an_architecture_that_is_no_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: object
) -> None:
    monkeypatch.setattr(checkpoints, "read_config", lambda _: {"architectures": named})
    with refused_with(Reason.CHECKPOINT_REFUSED):
        families.family(tmp_path)


_PARTS = tuple(f"model-0000{number}-of-00002.safetensors" for number in (1, 2))


def _source(folder: Path, **tensors: float) -> Path:
    source = folder / "source"
    source.mkdir()
    (source / "config.json").write_text('{"model_type": "bert"}')
    for name, part in zip(_PARTS, ("first", "second"), strict=True):
        held = {part: np.ones(2, np.float32)}
        held |= {key: np.full(2, value, np.float32) for key, value in tensors.items()}
        save_file(held, source / name)
    return source


def test_a_tensor_in_two_files_is_refused(tmp_path: Path) -> None:
    source = _source(tmp_path, both=2.0)
    index = {"first": _PARTS[0], "second": _PARTS[1], "both": _PARTS[1]}
    (source / INDEX).write_text(json.dumps({"weight_map": index}))
    with refused_with(Reason.CHECKPOINT_REFUSED):
        take_in(source, tmp_path / "copy")


def test_parts_need_an_index(tmp_path: Path) -> None:
    source = _source(tmp_path)
    with refused_with(Reason.CHECKPOINT_REFUSED):
        take_in(source, tmp_path / "copy")
    index = {"first": _PARTS[0], "second": _PARTS[1]}
    (source / INDEX).write_text(json.dumps({"weight_map": index}))
    assert set(_PARTS) < take_in(source, tmp_path / "copy").files.keys()


@pytest.mark.parametrize("place", ["../secret.safetensors", "/etc/passwd", "other.safetensors"])
def test_an_index_names_only_files_of_its_folder(tmp_path: Path, place: str) -> None:
    source = _source(tmp_path)
    index = {"first": _PARTS[0], "second": _PARTS[1], "third": place}
    (source / INDEX).write_text(json.dumps({"weight_map": index}))
    with refused_with(Reason.CHECKPOINT_REFUSED):
        take_in(source, tmp_path / "copy")
