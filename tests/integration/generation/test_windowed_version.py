"""From a folder to a version with attention windows, and from its files to one that answers."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from generation.batching.attention_windows import installed
from generation.batching.step_batches import WindowBatches
from generation.config import GenerationSettings
from generation.models.decoder import LanguageModel
from generation.publishing import builder, window_choice
from generation.publishing.builder import BuiltGenerator, GeneratorDescription, GeneratorKeys
from generation.publishing.recall import RecallText, looking_back, recall, share_recalled
from generation.publishing.watermark import CommittedMark
from generation.publishing.window_choice import WindowOptions, choose, perplexity_of_halves
from generation.serving.generator_version import GeneratorVersion
from inference.llm.request import Sampling, SamplingRequest
from inference.llm.terms import GOLDEN, INT8_INTEGER, TERMS, WHOLE, AttentionWindows, GeneratorTerms
from inference.model.config import TrainingDataInfo
from publishing.watermark.key import Mark, WatermarkKey
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import ECDSA_P256, PrivateKey
from sealgate.trust.statements import Evidence
from tests.support.builders.models import tiny_decoder
from tests.support.builders.models.tiny_decoder import prompts

ABOUT = GeneratorDescription(
    "tiny", "small", "tests", TrainingDataInfo("Python's manual", "PSF-2.0"), 160, 40
)
DIGEST = "sha256:" + "0" * 64


def long_texts(count: int, letters: int = 900) -> list[str]:
    text = tiny_decoder.texts()[1]
    return [text[at * letters : (at + 1) * letters] for at in range(count)]


def build(
    folder: Path, made: Path, wish: WindowOptions, about: GeneratorDescription = ABOUT
) -> BuiltGenerator:
    signing = GeneratorKeys("paula", PrivateKey.generate(ECDSA_P256), PrivateKey.generate())
    key = WatermarkKey("tiny", bytes(range(32)))
    return builder.build(
        folder,
        prompts(60),
        about,
        made,
        signing,
        lambda unmarked: CommittedMark(Mark(key, b"mark", unmarked), 0),
        datetime(2026, 11, 30, tzinfo=UTC),
        windows=wish,
    )


@pytest.fixture(scope="module")
def built(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> BuiltGenerator:
    place = tmp_path_factory.mktemp("windowed") / "made"
    return build(folder, place, WindowOptions(long_texts(6)))


@pytest.fixture(scope="module")
def files(built: BuiltGenerator) -> Path:
    return built.package.files[TERMS].parent


def test_windows_are_signed_with_the_terms(built: BuiltGenerator, files: Path) -> None:
    terms = GeneratorTerms.decode((files / TERMS).read_bytes())
    assert terms.attention is not None
    assert terms.attention.layers == 2
    assert built.findings.windows is not None
    assert terms.attention == built.findings.windows.attention
    assert built.findings.windows.kept >= 0.98
    assert terms.attention.equivalent(200) < 200


def test_evidence_says_how_they_were_chosen(built: BuiltGenerator) -> None:
    items = [Evidence.decode(Envelope.decode(item).payload) for item in built.package.evidence]
    bodies = {item.kind: item.body for item in items}
    found = bodies["golden-run"]["attention"]
    assert found["windows"] == list(built.findings.terms.attention.windows)
    assert found["perplexity_full"] / found["perplexity_windows"] >= 0.98
    assert len(found["entropy"]) == len(found["outside"]) == 2
    assert "heads" not in found
    assert [*found["recall_full"]] == [*found["recall_windows"]] == ["2%", "50%", "95%"]
    assert all(entropy > 0 for entropy in found["entropy"])
    assert all(0 <= share <= 1 for share in found["outside"])


def test_it_answers_in_windows_and_says_so(files: Path, settings: GenerationSettings) -> None:
    version = GeneratorVersion.build(DIGEST, files, settings)
    try:
        assert isinstance(version.batches, WindowBatches)
        assert version.terms.attention is not None
        assert version.engine.endswith(version.terms.attention.description)
        asked = SamplingRequest(long_texts(1, 300)[0].encode(), False, Sampling(20))
        until = time.monotonic() + 60
        prompt = version.read(asked, until, lambda: True)
        with version.answer(prompt, asked.sampling, until, lambda: True) as pieces:
            ids = [token for piece in pieces for token in piece.ids]
        windowed = LanguageModel.read(files, attention=version.terms.attention)
        assert ids == windowed.greedy(prompt.ids, 20)
    finally:
        version.close()


def test_full_attention_does_not_answer_for_windows(
    files: Path, settings: GenerationSettings, folder: Path, tmp_path: Path
) -> None:
    """Golden answers of narrow windows are not those of terms without them."""
    narrow = build(folder, tmp_path / "made", WindowOptions(long_texts(6), tokens=2, kept=0.01))
    place = narrow.package.files[TERMS].parent
    GeneratorVersion.build(DIGEST, place, settings).close()
    plain = replace(narrow.findings.terms, attention=None)
    (place / TERMS).write_bytes(plain.encode())
    with pytest.raises(SealgateError) as found:
        GeneratorVersion.build(DIGEST, place, settings)
    assert found.value.reason is Reason.GOLDEN_MISMATCH


def test_windows_make_room_for_longer_texts(files: Path, settings: GenerationSettings) -> None:
    terms = GeneratorTerms.decode((files / TERMS).read_bytes())
    assert terms.attention is not None
    held = terms.attention.equivalent(200)
    small = replace(settings, cache_tokens=-(-held // 16) * 16)
    assert small.cache_tokens < 200
    GeneratorVersion.build(DIGEST, files, small).close()
    with pytest.raises(SealgateError) as found:
        GeneratorVersion.build(DIGEST, files, replace(settings, page_tokens=4, cache_tokens=8))
    assert found.value.reason is Reason.ENGINE_UNSUITABLE


def test_windows_of_other_layers_do_not_load(
    files: Path, settings: GenerationSettings, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in files.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    terms = GeneratorTerms.decode((copy / TERMS).read_bytes())
    (copy / TERMS).write_bytes(replace(terms, attention=AttentionWindows(4, (16,) * 5)).encode())
    with pytest.raises(SealgateError) as found:
        GeneratorVersion.build(DIGEST, copy, settings)
    assert found.value.reason is Reason.ENGINE_UNSUITABLE


@pytest.mark.slow
def test_integers_attend_in_windows_too(
    folder: Path, tmp_path: Path, settings: GenerationSettings
) -> None:
    about = replace(ABOUT, precision=INT8_INTEGER)
    made = build(
        folder, tmp_path / "made", WindowOptions(long_texts(4), tokens=64, kept=0.9), about
    )
    assert made.findings.terms.attention == AttentionWindows(4, (64, 64))
    GeneratorVersion.build(DIGEST, made.package.files[TERMS].parent, settings).close()
    golden = json.loads((tmp_path / "made" / GOLDEN).read_bytes())
    assert golden["answers"]


def test_a_measured_window_keeps_what_was_wished(folder: Path) -> None:
    texts = long_texts(6)
    found = choose(LanguageModel.read(folder), WindowOptions(texts), 200)
    full, windowed = LanguageModel.read(folder), LanguageModel.read(folder)
    windowed.attend(found.attention)
    ids = [full.tokenizer.encode(text).ids[:200] for text in texts[1::2]]
    assert found.full == pytest.approx(perplexity_of_halves(full.model, ids))
    assert found.windowed == pytest.approx(perplexity_of_halves(windowed.model, ids))
    assert found.longest == 200
    assert found.tokens == 300


def test_layers_that_look_further_get_larger_windows(folder: Path) -> None:
    found = choose(LanguageModel.read(folder), WindowOptions(long_texts(6)), 200)
    shares = [max(0.0, *(out for size, out in layer.outside.items())) for layer in found.layers]
    sizes = [window or 200 for window in found.attention.windows]
    assert (sizes[0] - sizes[1]) * (shares[0] - shares[1]) >= 0
    for layer in found.layers:
        outs = list(layer.outside.values())
        assert outs == sorted(outs, reverse=True)
        assert layer.window(1.0) == 16
        assert layer.window(-1.0) == WHOLE


@pytest.mark.parametrize(
    ("wish", "reason", "detail"),
    [
        (
            WindowOptions(long_texts(1)),
            Reason.CALIBRATION_TOO_SMALL,
            "1 texts of 100 tokens or more",
        ),
        (
            WindowOptions(long_texts(6, 60)),
            Reason.CALIBRATION_TOO_SMALL,
            "0 texts of 100 tokens or more",
        ),
        (WindowOptions(["a\0b" * 200] * 2), Reason.TENSOR_TEXT, "a prompt holds a NUL"),
        (
            WindowOptions(long_texts(4), tokens=1, sink=0),
            Reason.ATTENTION_COST,
            "of perplexity is kept",
        ),
        (WindowOptions(long_texts(4), kept=9.0), Reason.ATTENTION_COST, "no windows keep 900.00%"),
        (
            WindowOptions(long_texts(4), tokens=1 << 21),
            Reason.DOCUMENT_MALFORMED,
            "a window has at most 2**20 tokens",
        ),
    ],
)
def test_windows_that_are_refused(
    folder: Path, wish: WindowOptions, reason: Reason, detail: str
) -> None:
    with pytest.raises(SealgateError) as found:
        choose(LanguageModel.read(folder), wish, 200)
    assert found.value.reason is reason
    assert detail in found.value.detail


def test_recall_is_how_probable_named_numbers_are(folder: Path) -> None:
    decoder = LanguageModel.read(folder)
    ids = decoder.tokenizer.encode(long_texts(1)[0]).ids
    full = recall(decoder, ids)
    assert [*full] == [0.02, 0.5, 0.95]
    assert all(0 < probability < 1 for probability in full.values())
    decoder.attend(AttentionWindows(0, (4, 4)))
    assert recall(decoder, ids) != full


@pytest.mark.parametrize("tokens", [None, 64])
def test_windows_that_recall_too_little_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tokens: int | None
) -> None:
    """The recall of full attention is faked, because no tiny decoder recalls anything."""

    def said(decoder: LanguageModel, _: Sequence[int]) -> dict[float, float]:
        return {0.02: 0.9 if installed(decoder.model) is None else 0.09, 0.5: 0.2}

    monkeypatch.setattr(window_choice, "recall", said)
    texts = long_texts(4)
    with pytest.raises(SealgateError) as found:
        choose(LanguageModel.read(folder), WindowOptions(texts, tokens, kept=0.5), 200)
    assert found.value.reason is Reason.ATTENTION_COST
    expected = "10.00% is recalled, not 90.00%" if tokens else "and 90% of recall"
    assert expected in found.value.detail
    unasked = WindowOptions(texts, tokens, kept=0.5, recalled=0)
    assert choose(LanguageModel.read(folder), unasked, 200).recalled == pytest.approx(0.1)


def test_kv_heads_that_look_back_keep_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where recall needs one head of the second layer alone, all others have windows."""

    def said(decoder: LanguageModel, _: Sequence[int]) -> dict[float, float]:
        windows = installed(decoder.model)
        recalls = windows is None or windows.of_layer(1)[-1] == WHOLE
        return {0.02: 0.9 if recalls else 0.1, 0.5: 0.2}

    monkeypatch.setattr(window_choice, "recall", said)
    monkeypatch.setattr(window_choice, "looking_back", lambda *_: [[0.1, 0.3], [0.2, 0.8]])
    found = choose(LanguageModel.read(folder), WindowOptions(long_texts(4), kept=0.5), 200)
    assert found.attention.heads == 2
    assert found.attention.windows[3] == WHOLE
    assert all(0 < window < 100 for window in found.attention.windows[:3])
    assert found.recalled == 1.0
    assert len(found.as_json()["outside"]) == 4
    assert found.as_json()["heads"] == 2


def test_looking_back_is_attention_on_what_was_named(folder: Path) -> None:
    decoder = LanguageModel.read(folder)
    ids = decoder.tokenizer.encode(long_texts(1)[0]).ids
    text = RecallText.of(decoder, ids)
    named = [decoder.tokenizer.decode(text.ids[at.start : at.stop]) for at in text.named.values()]
    told = [decoder.tokenizer.decode(text.ids[at.start : at.stop]) for at in text.told.values()]
    assert [number.strip() in name for name, number in zip(named, told, strict=True)] == [True] * 3
    # A decoder of its own: only eager attention tells what it looks at.
    eager = LanguageModel.read(folder).model
    eager.set_attn_implementation("eager")
    with torch.inference_mode():
        every = eager(torch.tensor([text.ids]), output_attentions=True).attentions
    expected = []
    for layer in every:
        looks = []
        for at in (0.02, 0.5):
            asking = slice(text.asked[at].start + 1, text.told[at].stop - 1)
            seen = layer[0, :, asking, text.named[at].start : text.named[at].stop]
            # Of four heads two ask each KV head.
            looks.append(seen.sum(-1).mean(-1).view(2, 2).amax(1))
        expected.append(torch.stack(looks).amax(0))
    found = torch.tensor(looking_back(decoder, ids))
    assert torch.allclose(found, torch.stack(expected), atol=1e-5)


def test_what_full_attention_does_not_recall_says_nothing() -> None:
    assert share_recalled({0.02: 0.4, 0.5: 0.1}, {0.02: 0.0, 0.5: 0.0}) == 1.0
    assert share_recalled({0.02: 0.8, 0.5: 0.5}, {0.02: 0.6, 0.5: 0.9}) == pytest.approx(0.75)


def test_nothing_is_committed_to_for_texts_that_are_too_short(folder: Path, tmp_path: Path) -> None:
    def commit(_: str) -> CommittedMark:
        raise AssertionError("committed")

    signing = GeneratorKeys("paula", PrivateKey.generate(ECDSA_P256), PrivateKey.generate())
    wish, now = WindowOptions(long_texts(6, 60)), datetime(2026, 11, 30, tzinfo=UTC)
    with pytest.raises(SealgateError) as found:
        builder.build(
            folder, prompts(60), ABOUT, tmp_path / "made", signing, commit, now, windows=wish
        )
    assert found.value.reason is Reason.CALIBRATION_TOO_SMALL


def test_an_encoder_decoder_is_refused_windows(translator_folder: Path) -> None:
    with pytest.raises(SealgateError) as found:
        choose(LanguageModel.read(translator_folder), WindowOptions(long_texts(4)), 100)
    assert found.value.reason is Reason.ENGINE_UNSUITABLE
    assert found.value.detail == "only decoders have attention windows"
