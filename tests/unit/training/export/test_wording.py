"""Statistics of tokens in the training texts, and the features of a text made from them."""

import numpy as np
import pytest
import torch

from inference.text.tokens import NO_TOKEN
from training.export.word_votes import FEATURES, WordVotes

# Tokens: 0 to 7 stand in texts of class 0, 8 to 15 in texts of class 1, 16 to 21 in both; 22 and 23
# frame each text, 24 stands in one text, 25 in none.
VOCABULARY, ALONE, NOWHERE = 26, 24, 25


def texts(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    y = np.arange(count) % 2
    rows = np.full((count, 12), NO_TOKEN)
    for row, label in zip(rows, y, strict=True):
        own = draw.choice(8, draw.integers(4, 7), replace=False) + 8 * label
        words = [*own, *draw.choice(6, 3, replace=False) + 16]
        draw.shuffle(words)
        row[: len(words) + 2] = [22, *words, 23]
    return rows, y


@pytest.fixture(scope="module")
def wording() -> WordVotes:
    rows, y = texts(400, 1)
    rows[0, 1] = ALONE
    return WordVotes.fit(rows, y, VOCABULARY, 2)


def measured(wording: WordVotes, rows: np.ndarray, y: np.ndarray, parts: float = 1.0) -> np.ndarray:
    """The features [n, FEATURES] of rows that are answered as y."""
    x = torch.from_numpy(rows)
    own = torch.arange(2) == torch.from_numpy(y)[:, None]
    mask = (x >= 0).to(torch.int64)
    found = wording.features(x.clamp(min=0), mask, own, ~own, parts * mask.float())
    features = torch.cat(found, 1)
    assert features.shape == (len(rows), FEATURES)
    assert torch.isfinite(features).all()
    return features.numpy()


def test_tokens_vote_for_the_class_in_whose_texts_they_stand(wording: WordVotes) -> None:
    lead = (wording.votes[:, 0] - wording.votes[:, 1]).numpy()
    assert (lead[:8] > 3).all()
    assert (lead[8:16] < -3).all()
    assert np.abs(lead[16:22]).max() < 0.7
    assert np.abs(lead[22:24]).max() < 0.01
    assert torch.allclose(wording.votes.sum(1), torch.zeros(()), atol=1e-5)


def test_a_token_of_one_text_alone_is_not_held(wording: WordVotes) -> None:
    for token in (ALONE, NOWHERE):
        assert not wording.votes[token].any()
        assert not wording.places[token].any()
    held = [token for token in range(VOCABULARY) if token not in (ALONE, NOWHERE)]
    assert torch.allclose(wording.places[held].norm(dim=1), torch.ones(()), atol=1e-4)


def test_tokens_that_share_their_neighbors_lie_together(wording: WordVotes) -> None:
    near = (wording.places @ wording.places.T).numpy()
    for own, other in ((slice(8), slice(8, 16)), (slice(8, 16), slice(8))):
        assert near[own, own].min() > near[own, other].max() + 0.1


def test_exchanged_words_show(wording: WordVotes) -> None:
    """Two words of the other class, by which a text is answered as that one."""
    rows, y = texts(80, 2)
    clean = measured(wording, rows, y)
    moved = rows.copy()
    moved[:, 1] = np.where(y == 0, 8, 0)
    moved[:, 2] = np.where(y == 0, 9, 1)
    turned = measured(wording, moved, 1 - y)
    # The votes, how far the mean place lies from the answer's class, how tokens agree.
    assert turned[:, 0].max() < clean[:, 0].min()
    assert turned[:, 1].min() > np.quantile(clean[:, 1], 0.95)
    assert turned[:, 5].mean() < clean[:, 5].mean() - 0.05


def test_those_that_speak_for_the_answer_are_told_from_those_against(wording: WordVotes) -> None:
    rows, y = texts(40, 3)
    speaking, against = measured(wording, rows, y), measured(wording, rows, y, -1.0)
    assert np.allclose(speaking[:, 6], against[:, 7])
    assert not speaking[:, 7].any()
    assert np.allclose(speaking[:, 6], speaking[:, 5], atol=1e-4)


def test_what_fills_a_row_up_counts_for_nothing() -> None:
    rows, y = texts(200, 4)
    wide = np.pad(rows, ((0, 0), (0, 9)), constant_values=NO_TOKEN)
    before, after = (WordVotes.fit(each, y, VOCABULARY, 2) for each in (rows, wide))
    assert torch.equal(before.votes, after.votes)
    assert torch.equal(before.places, after.places)
    assert np.allclose(measured(before, rows, y), measured(after, wide, y), atol=1e-4)


def test_a_state_is_read_again(wording: WordVotes) -> None:
    again = WordVotes.of(wording.state())
    assert again is not None
    assert again.state().keys() == wording.state().keys()
    assert all(torch.equal(value, again.state()[name]) for name, value in wording.state().items())
    assert WordVotes.of({"reference.0.mean": torch.zeros(1)}) is None
