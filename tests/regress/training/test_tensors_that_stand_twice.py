"""A checkpoint might hold a tensor in two of its files, or several files without an index: which of
them counts is told by who loads it, so what was hashed was not what each would run.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from sealgate.reasons import Reason
from tests.support.people import refused
from training.checkpoints import INDEX, take_in

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


def test_are_refused(tmp_path: Path) -> None:
    source = _source(tmp_path, both=2.0)
    index = {"first": _PARTS[0], "second": _PARTS[1], "both": _PARTS[1]}
    (source / INDEX).write_text(json.dumps({"weight_map": index}))
    with refused(Reason.CHECKPOINT_REFUSED):
        take_in(source, tmp_path / "copy")


def test_parts_need_an_index(tmp_path: Path) -> None:
    source = _source(tmp_path)
    with refused(Reason.CHECKPOINT_REFUSED):
        take_in(source, tmp_path / "copy")
    index = {"first": _PARTS[0], "second": _PARTS[1]}
    (source / INDEX).write_text(json.dumps({"weight_map": index}))
    assert set(_PARTS) < take_in(source, tmp_path / "copy").files.keys()


@pytest.mark.parametrize("place", ["../secret.safetensors", "/etc/passwd", "other.safetensors"])
def test_an_index_reaches_nowhere_else(tmp_path: Path, place: str) -> None:
    source = _source(tmp_path)
    index = {"first": _PARTS[0], "second": _PARTS[1], "third": place}
    (source / INDEX).write_text(json.dumps({"weight_map": index}))
    with refused(Reason.CHECKPOINT_REFUSED):
        take_in(source, tmp_path / "copy")
