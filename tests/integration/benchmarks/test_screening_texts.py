"""A small part of `make bench NAME=screening` on texts: made letters, one seed, with margins."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.screening.measures import WORST
from benchmarks.screening.texts import attacks, corpora, knowing, measures, models, subjects
from benchmarks.screening.texts.attacks import MOST_WORDS, TEXT_ATTACKS, made
from benchmarks.screening.texts.corpora import SPAM, Texts
from benchmarks.screening.texts.mistyping import mistyped
from benchmarks.screening.texts.subjects import TextSubject
from publishing.calibration.text_probe import SHARES, inner

LETTERS = replace(SPAM, words=16, sizes=(500, 80, 80, 80))
KINDS = (
    "meet team plan draft notes agenda review budget",
    "prize winner offer cash claim bonus lottery cheap",
)
OTHERS = "the a on for with about today friday please your our new next week from all"


def letters() -> Iterator[tuple[str, int]]:
    """Two to four words of a kind among others, in a random order."""
    draw = np.random.default_rng(0)
    for at in range(1200):
        telling = draw.choice(KINDS[at % 2].split(), draw.integers(2, 5))
        words = [*telling, *draw.choice(OTHERS.split(), 12)]
        draw.shuffle(words)
        yield " ".join(words), at % 2


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TextSubject]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        for module in (attacks, subjects):
            patch.setattr(module, "CACHE", folder)
        patch.setitem(corpora.READERS, SPAM.name, letters)
        patch.setattr(attacks.synonyms, "read", lambda: {"prize": ["award"], "meet": ["see"]})
        patch.setattr(models, "_EPOCHS", 3)
        for module in (attacks, knowing):
            patch.setattr(module, "MOST_TEXTS", 30)
        torch.set_num_threads(1)
        yield subjects.subject(LETTERS, 7)


def test_what_is_kept_is_taken_again(subject: TextSubject) -> None:
    again = subjects.subject(LETTERS, 7)
    assert again.digest == subject.digest
    assert subjects.subject(LETTERS, 8).slices["test"].texts != again.slices["test"].texts


def test_a_model_that_was_trained_on_other_texts_is_not_taken(
    subject: TextSubject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have seen what are now the detector's rows."""
    trained: list[int] = []
    train = models.train_model
    monkeypatch.setattr(models, "_EPOCHS", 1)

    def counted(kept: Path, part: Texts, *given: Any) -> None:
        trained.append(len(part.texts))
        train(kept, part, *given)

    monkeypatch.setattr(models, "train_model", counted)
    subjects.subject(LETTERS, 7)
    assert not trained
    subjects.subject(replace(LETTERS, sizes=(400, 180, 80, 80)), 7)
    assert trained == [400]


def test_attacks_keep_to_their_share_and_turn_more_than_mistakes(subject: TextSubject) -> None:
    draw = np.random.default_rng(0)
    texts, _, classes = (part[:30] for part in subject.right)
    mistaken = subject.cutter.rows([mistyped(text, MOST_WORDS, draw) for text in texts])
    by_mistake = np.mean(subject.probe.answers(mistaken) != classes)
    for attack in TEXT_ATTACKS:
        before, after, classes = made(subject, attack)
        assert (subject.probe.answers(before) == classes).all()
        turned = np.mean(subject.probe.answers(after) != classes)
        if attack.shown:
            changed = (before != after).sum(axis=1)
            assert (changed <= np.maximum(1, MOST_WORDS * inner(before).sum(axis=1) + 0.5)).all()
            assert turned > 0.1
        if attack.name == "mistyped where it turns":
            assert turned > by_mistake
        assert np.array_equal(made(subject, attack)[1], after)


def test_who_knows_the_words_goes_by_them(subject: TextSubject) -> None:
    """What is exchanged then speaks less for the class that the text is of, too."""
    _, rows, classes = (part[:30] for part in subject.right)
    probe = subject.probe.probe
    votes = probe.measured.wording.votes.numpy()  # type: ignore[attr-defined]
    last = f"hotflip-{SHARES[-1]:g}"
    left = []
    for each in (probe, knowing.Knowing.beside(probe, votes, max(knowing.WEIGHTS))):
        moved = dict(each.attacks(rows, np.random.default_rng(0)))[last]
        held = np.where(inner(moved), votes[np.maximum(moved, 0), classes[:, np.newaxis]], 0)
        left.append(held.sum(axis=1).mean())
    assert left[1] < left[0] - 0.5


def assert_no_better_than(one: dict[str, Any], worst: dict[str, Any]) -> None:
    """The worst scores least of each text that `one` turned; of others it may find all."""
    if "auroc" in one and one["attacked"] == worst["attacked"]:
        turned, ever = one["turned"], worst["turned"]
        assert worst["auroc"] * ever <= one["auroc"] * turned + ever - turned + 0.001


def test_figures_are_of_turned_texts(subject: TextSubject) -> None:
    found = measures.measure(subject)
    assert found["clean"]["accuracy"] > 0.9
    assert found["clean"]["rows"] == LETTERS.sizes[-1]
    assert max(found["shifts"].values()) < 0.15
    each = found["attacks"]
    assert each[WORST]["turned"] >= max(each[attack.name]["turned"] for attack in TEXT_ATTACKS)
    assert each[WORST]["auroc"] > 0.5
    for attack in TEXT_ATTACKS:
        assert_no_better_than(each[attack.name], each[WORST])
    assert each["HotFlip until it turns"]["auroc"] > 0.8
    known = found["knows_the_words"]
    assert known["attacked"] == each[WORST]["attacked"]
    assert known["turned"] > 0.5
    assert known["auroc"] < each["HotFlip until it turns"]["auroc"]
