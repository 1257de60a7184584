"""A language model's mark: read in what is stored and in INT8, at a price that is bounded."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from generation.models.decoder import LanguageModel
from generation.publishing import watermark
from generation.publishing.watermark import (
    CommittedMark,
    mark_weights,
    perplexity_loss,
    unmarked_digest,
)
from publishing.watermark import MARK_THRESHOLD
from publishing.watermark.detection import read_code, weights_of
from publishing.watermark.key import Mark, WatermarkKey
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import sha256
from sealgate.trust.statements import FileEntry, Manifest
from tests.support.builders.models import tiny_decoder

KEY = WatermarkKey("tiny", bytes(range(32)))
COMMITTED = CommittedMark(Mark(KEY, b"\1\2\3\4", sha256(b"x")), 3)
ONE = ["model.safetensors"]


def reason(call: object) -> Reason:
    with pytest.raises(SealgateError) as found:
        call()  # type: ignore[operator]
    return found.value.reason


def test_it_is_read_as_stored_and_in_int8_and_costs_little(
    folder: Path, decoder: LanguageModel, tmp_path: Path
) -> None:
    made = shutil.copytree(folder, tmp_path / "made")
    (made / ONE[0]).unlink()
    marked = mark_weights(folder, made, ONE, COMMITTED)
    assert min(marked.stored.z, marked.int8.z) > MARK_THRESHOLD
    record = marked.record(sha256(b"version"))
    data = (made / ONE[0]).read_bytes()
    assert read_code(weights_of(ONE[0], data), record.code, record.slots).found
    assert not read_code(
        weights_of(ONE[0], (folder / ONE[0]).read_bytes()), record.code, record.slots
    ).found
    names = {slot.name for slot in record.slots}
    assert len(names) == 14
    assert not any(name.endswith(("embed_tokens.weight", "lm_head.weight")) for name in names)
    before = tiny_decoder.perplexity(folder, decoder.model)
    after = tiny_decoder.perplexity(folder, LanguageModel.read(made).model)
    assert after / before - 1 < 0.005


def test_shards_carry_one_mark_together(folder: Path, tmp_path: Path) -> None:
    plain, made = tmp_path / "plain", tmp_path / "made"
    plain.mkdir()
    made.mkdir()
    tensors = load_file(folder / ONE[0])
    names = [f"model-0000{at}-of-00002.safetensors" for at in (1, 2)]
    halves = [sorted(tensors)[at::2] for at in (0, 1)]
    for name, half in zip(names, halves, strict=True):
        save_file({each: tensors[each] for each in half}, plain / name)
    whole = mark_weights(plain, made, names, COMMITTED)
    for name in names:
        read = read_code(
            weights_of(name, (made / name).read_bytes()),
            COMMITTED.mark.code(worded=whole.worded),
            whole.slots,
        )
        assert 0 < read.z < whole.stored.z
        assert (plain / name).stat().st_size == (made / name).stat().st_size


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_types_of_sixteen_bits_carry_it_too(
    folder: Path, tmp_path: Path, kind: torch.dtype
) -> None:
    plain, made = tmp_path / "plain", tmp_path / "made"
    plain.mkdir()
    made.mkdir()
    tensors = load_file(folder / ONE[0])
    save_file({name: value.to(kind) for name, value in tensors.items()}, plain / ONE[0])
    marked = mark_weights(plain, made, ONE, COMMITTED)
    full = mark_weights(folder, tmp_path, ONE, COMMITTED)
    assert marked.stored.z > 0.98 * full.stored.z


def test_what_the_commitment_binds(tmp_path: Path) -> None:
    entries = [FileEntry(f"model-0000{at}-of-00002.safetensors", 8, sha256(b"a")) for at in (1, 2)]
    assert unmarked_digest(entries[:1]) == entries[0].digest
    assert unmarked_digest(entries) == Manifest(tuple(entries)).digest


def test_a_mark_that_cannot_be_read_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if rounding left nothing of the weights.
    monkeypatch.setattr(watermark, "as_rounded", lambda values: values * 0 + 1)
    assert reason(lambda: mark_weights(folder, tmp_path, ONE, COMMITTED)) is Reason.WATERMARK_FAINT


def test_weights_too_few_are_refused(tmp_path: Path) -> None:
    small = tiny_decoder.make(tmp_path / "small", steps=0, width=16)
    assert (
        reason(lambda: mark_weights(small, tmp_path, ONE, COMMITTED)) is Reason.WATERMARK_CAPACITY
    )


def test_what_a_mark_costs() -> None:
    assert perplexity_loss(10.0, 10.04) == pytest.approx(0.004)
    assert perplexity_loss(10.0, 9.0) < 0
    assert perplexity_loss(10.0, float("nan")) == perplexity_loss(10.0, float("inf")) == math.inf


def test_other_files_than_safetensors_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / ONE[0]).write_text(json.dumps({"no": "weights"}))
    call = lambda: mark_weights(tmp_path / "plain", tmp_path, ONE, COMMITTED)  # noqa: E731
    assert reason(call) is Reason.FORMAT_REFUSED
