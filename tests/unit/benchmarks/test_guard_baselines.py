"""Classifiers beside a guard learn from its windows, and get their threshold by its rule."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
import torch

from benchmarks.guard import baselines
from benchmarks.guard.ask_nanoguard import margins
from benchmarks.guard.baselines import Learnt
from benchmarks.guard.published import Floats
from inference.screening.calibration import conformal_rank
from tests.support.builders import guard_prompts


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Learnt:
    """Of prompts that speak of a pill where they are injections."""
    first = (("pill", "injection"), ("plan", "clean"), ("plan", "clean"))
    return guard_prompts.learnt(
        tmp_path_factory.mktemp("learnt"),
        first,
        rows=1600,
        train=400,
        calibration=300,
        alarms="bound = 0.02",
    )


def test_what_is_learnt_is_what_the_recipe_trains_on(learnt: Learnt) -> None:
    shown = learnt.slices["train"]
    assert len(shown.said) == 400
    assert [("pill" in text) for text in shown.said] == shown.sought.tolist()


def test_of_a_part_only_the_first_prompts_are_labelled(learnt: Learnt) -> None:
    part = learnt.part(100)
    assert part.slices["train"].said == learnt.slices["train"].said[:100]
    assert part.slices["calibration"].said == learnt.slices["calibration"].said


def test_a_threshold_lets_as_many_clean_prompts_alarm_as_back_the_bound(learnt: Learnt) -> None:
    shown = learnt.slices["calibration"]
    clean = [text for text, sought in zip(shown.said, shown.sought, strict=True) if not sought]
    values = {text: float(number) for number, text in enumerate(dict.fromkeys(clean))}
    settled = learnt.settled(lambda texts: np.array([values[text] for text in texts], np.float32))
    assert not settled.by_windows
    alarms = int((settled.judge(clean) > 0).sum())
    assert alarms == conformal_rank(len(clean), 0.02, 0.9) - 1


def test_a_threshold_rises_by_the_rule_of_the_recipe(learnt: Learnt) -> None:
    """So that texts of several windows, cut from clean ones in a row, alarm no more often."""
    asked = replace(learnt.recipe.alarms, bound=0.1, lengths=(2,))

    def judge(texts: Sequence[str]) -> Floats:
        return np.array([crc32(text.encode()) % 1000 / 100 for text in texts], np.float32)

    settled = replace(learnt, recipe=replace(learnt.recipe, alarms=asked)).settled(judge)
    assert settled.by_windows[2] > 0


def test_words_find_what_one_word_tells(learnt: Learnt) -> None:
    judge = baselines.words(learnt).judge
    assert (judge(["ba pill de fi", "go plan la"]) > 0).tolist() == [True, False]


def test_without_its_package_there_is_no_public_guard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baselines, "PACKAGES", tmp_path)
    assert baselines.public() is None


def test_a_judge_that_is_asked_twice_is_asked_about_each_text_once() -> None:
    asked: list[str] = []

    def judge(texts: Sequence[str]) -> Floats:
        asked.extend(texts)
        return np.array([len(text) for text in texts], np.float32)

    twice = baselines.remembered(judge)
    assert twice(["abc", "a", "abc"]).tolist() == [3, 1, 3]
    assert twice(["ab", "a"]).tolist() == [2, 1]
    assert asked == ["abc", "a", "ab"]


def test_the_public_guard_is_asked_row_by_row_of_like_length() -> None:
    assert margins(_FakeGuard(), ["abc", "a", "abcdef"]) == [3.0, 1.0, 6.0]


class _FakeGuard:
    """Says how many letters a text has."""

    pad_token_id = 0
    sequence_len = 10

    def __init__(self) -> None:
        self.tokenizer = self.config = self

    def encode(self, text: str, max_length: int) -> list[int]:
        return [1 + ord(letter) for letter in text][:max_length]

    def model(self, ids: torch.Tensor, held: torch.Tensor) -> torch.Tensor:
        assert ((ids > 0) == held).all()
        counts = held.sum(1).float()
        return torch.stack([torch.zeros_like(counts), counts], 1)
