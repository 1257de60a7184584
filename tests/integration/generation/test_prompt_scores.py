"""Prompt scores: short prompts, chats and concurrent answers do not turn a clean prompt into an
attack.
"""

import json
from pathlib import Path

import pytest

from generation.models.decoder import LanguageModel
from generation.models.perplexity import WINDOW, height, score, series
from generation.publishing.prompt_screen import calibrated_screen
from inference.llm.request import Sampling, SamplingRequest
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.models import tiny_decoder

pytestmark = pytest.mark.slow

RARE = " Zq]}x~|^@#7J<{;%&W?$*=+K\\/0V9!Y_`"


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return LanguageModel.read(
        tiny_decoder.make(tmp_path_factory.mktemp("decoder") / "tiny", steps=80)
    )


def test_clean_prompts_of_any_length_pass(decoder: LanguageModel) -> None:
    prompts = tiny_decoder.prompts(160)
    cut = [decoder.tokenizer.encode(prompt).ids for prompt in prompts[:60]]
    screen = calibrated_screen(decoder, prompts[:60], cut, 96)
    assert screen is not None

    def verdict(text: str) -> str:
        ids = decoder.tokenizer.encode(text).ids
        joined = decoder.joined(screen, ids)
        return screen.verdict(score(decoder.model, ids, WINDOW, tail=screen.tail, joined=joined))

    short = [
        verdict(" ".join(text.split(" ")[:words])) for text in prompts[60:] for words in (2, 4, 8)
    ]
    long = [verdict(" ".join(prompts[at : at + 5])) for at in range(60, 155, 5)]
    # The bound is one of prompts like those; these are others.
    assert short.count("adversarial") <= 2 * screen.bound * len(short)
    assert long.count("adversarial") <= 2 * screen.bound * len(long)
    for words in (2, 12, 60):
        before = " ".join(" ".join(prompts[60:]).split(" ")[:words])
        assert verdict(before + RARE) == "adversarial"


def test_a_few_rare_tokens_pass(decoder: LanguageModel) -> None:
    ids = decoder.tokenizer.encode(RARE).ids
    few, many = (score(decoder.model, ids[:count], WINDOW) for count in (7, 24))
    assert few < 0.4 * many


def test_template_text_does_not_count(decoder: LanguageModel) -> None:
    contents = ["Be short.", "What is a list, and what does it hold? \u2003\u2003"]
    chat = [{"role": "user", "content": each} for each in contents]
    cut = decoder.cut(SamplingRequest(json.dumps(chat).encode(), True, Sampling(1)), 96)
    told = [token for token, own in zip(cut.ids, cut.written, strict=True) if own]
    assert decoder.tokenizer.decode(told) == "".join(contents)
    assert score(decoder.model, cut.ids, WINDOW, cut.written) < score(
        decoder.model, cut.ids, WINDOW
    )


def test_text_that_a_template_rewrites_counts_whole(tmp_path: Path) -> None:
    folder = tiny_decoder.make(tmp_path / "tiny", steps=0)
    template = tiny_decoder.TEMPLATE.replace("message.content", "message.content | upper")
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    chat = json.dumps([{"role": "user", "content": "What is a list?"}]).encode()
    assert all(LanguageModel.read(folder).cut(SamplingRequest(chat, True, Sampling(1)), 96).written)


def test_calibration_counts_a_prompt_as_a_chat_too(tmp_path: Path) -> None:
    folder, prompts = tiny_decoder.make(tmp_path / "tiny", steps=20), tiny_decoder.prompts(120)
    found = []
    for described in ({"chat_template": tiny_decoder.TEMPLATE}, {}):
        (folder / "tokenizer_config.json").write_text(json.dumps(described))
        decoder = LanguageModel.read(folder)
        cut = [decoder.tokenizer.encode(prompt).ids for prompt in prompts]
        found.append(calibrated_screen(decoder, prompts, cut, 96))
    both, plain = found
    assert plain is not None
    assert both is not None
    assert both.weights is not None
    assert plain.weights is not None
    # The same classifier, of plain prompts.
    assert both.weights.surprise == pytest.approx(plain.weights.surprise)
    assert both.threshold > plain.threshold


def test_a_score_is_the_same_alone_and_beside_others(decoder: LanguageModel) -> None:
    prompts = [*tiny_decoder.prompts(40), "", " ".join(tiny_decoder.prompts(6)), "a list"]
    texts = [(decoder.tokenizer.encode(prompt).ids, ()) for prompt in prompts]
    together = [each.peaks(WINDOW).highest for each in series(decoder.model, texts)]
    alone = [height(decoder.model, text[0], WINDOW).highest for text in texts]
    assert together == pytest.approx(alone, abs=1e-5)
    assert len({round(each, 3) for each in together}) > 30


def test_many_prompts_back_a_lower_bound_and_none_are_refused(decoder: LanguageModel) -> None:
    prompts = tiny_decoder.prompts(240)
    cut = [decoder.tokenizer.encode(prompt).ids for prompt in prompts]
    screens = [calibrated_screen(decoder, prompts[:n], cut[:n], 96) for n in (45, 240)]
    assert [screen.bound for screen in screens if screen] == [0.05, 0.01]
    # Fitted to few prompts, a classifier is alarmed by any other kind of text.
    assert [screen.weights is not None for screen in screens if screen] == [False, True]
    with pytest.raises(SealgateError) as found:
        calibrated_screen(decoder, prompts[:44], cut[:44], 96)
    assert found.value.reason is Reason.CALIBRATION_TOO_SMALL
