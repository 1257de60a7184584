"""Texts that are attacked, and texts that are mistyped."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.screening.texts import corpora, synonyms
from benchmarks.screening.texts.attacks import MOST_WORDS, greedy
from benchmarks.screening.texts.corpora import SPAM, Texts, cut
from benchmarks.screening.texts.mistyping import KINDS, mistake, mistyped

TEXT = "meet the team about our plan and win a prize on friday"


def scores(texts: list[str]) -> np.ndarray:
    """Work against offers: each telling word counts once."""
    work = ("meet", "team", "plan")
    return np.array(
        [[sum(word in text.split() for word in work), 1.5] for text in texts], np.float32
    )


def candidates(words: list[str], at: int) -> list[str]:
    return {"meet": ["see"], "the": ["that"], "team": ["teams", "group"], "our": ["my"]}.get(
        words[at], []
    )


def test_words_on_which_most_depends_are_exchanged_until_it_turns() -> None:
    moved = greedy(scores, TEXT, 0, candidates)
    assert scores([TEXT])[0].argmax() == 0
    assert scores([moved])[0].argmax() == 1
    changed = [pair for pair in zip(TEXT.split(), moved.split(), strict=True) if len(set(pair)) > 1]
    # Two of three telling words are enough, and nothing else is touched.
    assert {before for before, _ in changed} == {"meet", "team"}


def test_no_more_than_two_words_in_five_are_exchanged() -> None:
    def never(texts: list[str]) -> np.ndarray:
        return np.array([[9.0, 0.0]] * len(texts), np.float32)

    moved = greedy(never, TEXT, 0, lambda words, at: [words[at][::-1] + "x"])
    changed = sum(a != b for a, b in zip(TEXT.split(), moved.split(), strict=True))
    assert changed == int(MOST_WORDS * len(TEXT.split()))


def test_a_text_without_a_candidate_stays() -> None:
    assert greedy(scores, "a b", 0, lambda words, at: []) == "a b"


def test_that_share_of_words_is_mistyped_and_by_one_letter() -> None:
    generator = np.random.default_rng(0)
    text = " ".join(["letter", "numbers"] * 20)
    moved = mistyped(text, 0.1, generator)
    pairs = list(zip(text.split(), moved.split(), strict=True))
    changed = [(a, b) for a, b in pairs if a != b]
    # Where a letter comes twice, exchanging it with itself changes nothing.
    assert 2 <= len(changed) <= 4
    assert all(
        (abs(len(a) - len(b)) <= 1 and a[0] == b[0]) or sorted(a) == sorted(b) for a, b in changed
    )


@pytest.mark.parametrize("kind", range(KINDS))
def test_each_kind_of_mistake_changes_a_word(kind: int) -> None:
    generator = np.random.default_rng(1)
    assert any(mistake("price", kind, generator) != "price" for _ in range(5))


def test_a_text_of_short_words_cannot_be_mistyped() -> None:
    assert mistyped("a 12 of !", 0.5, np.random.default_rng(0)) == "a 12 of !"


def test_no_text_is_in_two_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [(f"Letter number {at % 5000} of many more words", at % 2) for at in range(6000)]
    monkeypatch.setitem(corpora.READERS, SPAM.name, lambda: iter(many))
    slices = cut(SPAM, 0)
    assert [len(part.texts) for part in slices.values()] == list(SPAM.sizes)
    every = [text for part in slices.values() for text in part.texts]
    assert len(set(every)) == len(every)
    assert all(isinstance(part, Texts) for part in slices.values())
    assert cut(SPAM, 1)["test"].texts != slices["test"].texts


def test_letters_that_begin_alike_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    start = "one letter that was sent to each of many people"
    many = [(f"{start}, dear {name}", 0) for name in ("Ann", "Bo", "Cy")]
    many += [(f"Letter number {at} of many more words", 1) for at in range(sum(SPAM.sizes))]
    monkeypatch.setitem(corpora.READERS, SPAM.name, lambda: iter(many))
    every = [text for part in cut(SPAM, 0).values() for text in part.texts]
    assert len(every) == sum(SPAM.sizes)
    assert sum(text.startswith(start) for text in every) <= 1


def test_synonyms_are_of_one_meaning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = "00001740 03 n 03 prize 0 award 0 first_prize 1 001 @ 00002137 n 0000 | won\n"
    for kind in ("noun", "verb", "adj", "adv"):
        (tmp_path / f"data.{kind}").write_text("  1 licence\n" + (line if kind == "noun" else ""))
    monkeypatch.setattr(synonyms, "_FOLDER", tmp_path)
    synonyms.read.cache_clear()
    assert synonyms.read() == {"prize": ["award"], "award": ["prize"]}
    synonyms.read.cache_clear()
    monkeypatch.setattr(synonyms, "_FOLDER", tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="wordnet-base"):
        synonyms.read()
    synonyms.read.cache_clear()
