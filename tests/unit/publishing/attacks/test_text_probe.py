"""The attack on texts: it exchanges as many tokens as it may, and turns more than chance does."""

import numpy as np
import pytest

from inference.screening.scoring import CLEAN_WEIGHT, Scoring
from inference.text.tokens import NO_TOKEN, lengths
from publishing.attacks.text_probe import LEAST, SHARES, TextProbe
from publishing.calibration.detector_fit import attack_fit_rows, draft_detector
from publishing.calibration.served_rows import BORDER, ServedProber
from tests.support.builders.models.text_models import RULES, dataset, source


@pytest.fixture(scope="module")
def probe() -> TextProbe:
    model = source()
    return TextProbe.of(model.response, model.config, RULES, dataset().fit.x)


def exchanged(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return (before != after).sum(axis=1)


def test_embeddings_are_those_of_the_stock(probe: TextProbe) -> None:
    assert probe.embeddings.shape == (len(probe.stock), 32)
    assert len(np.unique(probe.embeddings, axis=0)) == len(probe.stock)
    assert (np.diff(probe.stock) > 0).all()
    # Neither end of a text is a word.
    assert not {NO_TOKEN, 2, 3} & set(probe.stock.tolist())


def test_an_attack_stays_within_its_share_and_keeps_a_text_s_ends(probe: TextProbe) -> None:
    x = dataset().test.x[:60]
    inner = lengths(x) - 2
    attacks = probe.attacks(x, np.random.default_rng(0))
    for share, (name, moved) in zip(SHARES, attacks, strict=False):
        assert name == f"hotflip-{share:g}"
        assert (exchanged(x, moved) <= np.maximum(1, np.rint(share * inner))).all()
        assert np.array_equal(x == NO_TOKEN, moved == NO_TOKEN)
        assert (moved[:, 0] == x[:, 0]).all()
        last = np.arange(len(x)), lengths(x) - 1
        assert (moved[last] == x[last]).all()
        RULES.checked(moved)


def test_an_attack_turns_more_answers_than_chance_does(probe: TextProbe) -> None:
    x = dataset().test.x
    own = probe.answers(x)
    generator = np.random.default_rng(1)
    for share, (_, moved) in zip(SHARES, probe.attacks(x, np.random.default_rng(0)), strict=False):
        turned = np.mean(probe.answers(moved) != own)
        by_chance = np.mean(probe.answers(probe.noise(x, share, generator)) != own)
        assert turned > 2 * by_chance


def test_one_attack_stops_where_the_answer_turns(probe: TextProbe) -> None:
    x = dataset().test.x[:60]
    own = probe.answers(x)
    *_, (_, most), (name, least) = probe.attacks(x, np.random.default_rng(0))
    assert name == LEAST
    turned = probe.answers(most) != own
    assert turned.any()
    assert np.array_equal(probe.answers(least) != own, turned)
    assert (exchanged(x, least)[turned] < exchanged(x, most)[turned]).any()
    assert np.where(least != x, least == most, True).all()
    # With the last of its exchanges undone, each is answered as it was.
    changed = least != x
    last = changed & (changed.cumsum(axis=1) == changed.sum(axis=1, keepdims=True))
    assert (probe.answers(np.where(last, x, least)) == own)[turned].all()


def test_noise_exchanges_as_many_tokens_as_an_attack_may(probe: TextProbe) -> None:
    x = dataset().test.x[:60]
    moved = probe.noise(x, 0.4, np.random.default_rng(2))
    most = np.maximum(1, np.rint(0.4 * (lengths(x) - 2)))
    assert (exchanged(x, moved) <= most).all()
    assert exchanged(x, moved).sum() > 0.8 * most.sum()
    RULES.checked(moved)


def test_the_way_shows_where_another_model_turns_alone(probe: TextProbe) -> None:
    """As an INT8 model does whose border lies elsewhere."""

    class Leaning:
        def logits(self, rows: np.ndarray) -> np.ndarray:
            return probe.measure(rows)[0] + np.array([0.5, 0], np.float32)

    prober = ServedProber(probe, Leaning(), border=True)
    x = dataset().test.x[:60]
    *_, (name, rows) = prober.attacks(x, np.random.default_rng(0))
    assert name == BORDER
    turned = (rows != x).any(axis=1)
    assert turned.any()
    assert np.array_equal(probe.answers(rows), probe.answers(x))
    assert np.array_equal(rows[~turned], x[~turned])
    assert (exchanged(x, rows)[turned] > 0).all()
    RULES.checked(rows)


def test_of_texts_the_distance_to_clean_rows_hardly_weighs(probe: TextProbe) -> None:
    x = dataset().fit.x[:60]
    clean = probe.measure(x)[1]
    moved = []
    for texts in (True, False):
        seen = attack_fit_rows(probe, x, np.random.default_rng(0), texts=texts)
        detector = draft_detector(seen)
        scoring = Scoring(detector.scaling, detector.clean, detector.trained)
        distance, odds = scoring.surprises(clean)
        # The rest of the score is the odds.
        assert np.allclose(scoring.scores(clean) - odds, CLEAN_WEIGHT * distance)
        moved.append(np.ptp(distance))
    assert moved[0] == pytest.approx(moved[1] / 1000)
