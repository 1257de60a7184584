"""Sessions: honest ones stay quiet, searches and extractions do not."""

import numpy as np
import pytest

from gateway.sessions.fingerprints import Fingerprinter
from gateway.sessions.query_attack_detection import (
    NORMAL,
    CallerSession,
    Finding,
    image_payoff,
    normality,
    verdict_payoff,
)
from gateway.sessions.session_rows import REMEMBERED, class_of_version

PRINTER = Fingerprinter(b"k" * 32, "digits")
CLEAN = verdict_payoff("clean", 0.01, 0.05)
ATTACK = verdict_payoff("adversarial", 0.01, 0.05)


def rows(draw: np.random.Generator, number: int) -> np.ndarray:
    return draw.random((number, 64), np.float32)


def play(
    session: CallerSession, given: np.ndarray, payoff: float = CLEAN, alike: bool = False
) -> tuple[int, int]:
    """How often a search, and an extraction, was found."""
    found = [session.add(each, 0, payoff) for each in PRINTER.of(given, 0, 1, alike)]
    return sum(each.search for each in found), sum(each.extraction for each in found)


def test_an_honest_session_stays_quiet() -> None:
    draw = np.random.default_rng(3)
    assert play(CallerSession(), rows(draw, 3 * REMEMBERED)) == (0, 0)


def test_the_same_row_again_and_again_says_nothing() -> None:
    row = rows(np.random.default_rng(3), 1)
    assert play(CallerSession(), np.repeat(row, 500, axis=0), ATTACK) == (0, 0)


def test_near_duplicates_are_a_search_after_two() -> None:
    draw = np.random.default_rng(3)
    row = rows(draw, 1)
    near = np.clip(row + draw.normal(0, 0.01, (4, 64)), 0, 1).astype(np.float32)
    assert play(CallerSession(), near[:2])[0] == 0
    assert play(CallerSession(), near[:3])[0] == 1


def test_near_duplicates_among_honest_rows_are_found_all_the_same() -> None:
    draw = np.random.default_rng(3)
    given = rows(draw, 200)
    given[::10] = np.clip(given[0] + draw.normal(0, 0.01, (20, 64)), 0, 1)
    assert play(CallerSession(), given)[0] >= 1


def test_adversarial_verdicts_are_a_search() -> None:
    assert play(CallerSession(), rows(np.random.default_rng(3), 4), ATTACK)[0] == 1


def close(draw: np.random.Generator, number: int) -> np.ndarray:
    """Rows that lie within a fifth of the first in every element, and share no hash."""
    row = draw.uniform(0.2, 0.8, 64)
    moved = row + 0.19 * draw.choice([-1.0, 1.0], (number - 1, 64))
    return np.concatenate([row[None], moved]).astype(np.float32)


def test_a_near_duplicate_has_the_class_of_the_row_that_it_nearly_repeats() -> None:
    one, other = PRINTER.of(close(np.random.default_rng(3), 2), 0, 1, alike=True)
    session = CallerSession()
    assert session.add(one, 4, CLEAN) == Finding()
    assert session.add(other, 7, CLEAN) == Finding(anchor=4, turned=True)
    assert session.add(other, 4, CLEAN) == Finding(anchor=4)
    # The same row again gets the same answer.
    assert session.add(one, 4, CLEAN) == Finding()


@pytest.mark.parametrize(("width", "changed"), [(64, 8), (784, 70)])
def test_rows_of_which_few_elements_differ_are_near_duplicates(width: int, changed: int) -> None:
    draw = np.random.default_rng(3)
    given = np.repeat(draw.random((1, width), np.float32), 30, axis=0)
    for row in given[1:]:
        row[draw.choice(width, changed, replace=False)] = draw.random(changed)
    session = CallerSession()
    first, *others = PRINTER.of(given, 0, 1, alike=True)
    assert session.add(first, 2, CLEAN).anchor is None
    assert {session.add(each, 5, CLEAN).anchor for each in others} == {2}


def test_nobody_walks_away_from_an_anchor_in_small_steps() -> None:
    session = CallerSession()
    steps = np.linspace(0, 1, 21)[:, None] * np.ones((1, 64))
    prints = PRINTER.of(steps.astype(np.float32), 0, 1, alike=True)
    anchors = [session.add(each, at, CLEAN).anchor for at, each in enumerate(prints)]
    # A fifth away at least, and four fifths at most, is another anchor.
    new = [at for at, anchor in enumerate(anchors) if anchor is None]
    assert new[0] == 0
    assert 3 <= len(new) <= 6
    assert all(anchor in new for anchor in anchors if anchor is not None)


def test_a_class_of_another_version_is_no_anchor() -> None:
    draw = np.random.default_rng(3)
    given = np.repeat(rows(draw, 1), 3, axis=0) + draw.uniform(-0.01, 0.01, (3, 64))
    prints = PRINTER.of(given.astype(np.float32), 0, 1, alike=True)
    session = CallerSession()
    versions = [class_of_version(4, "sha256:1"), class_of_version(7, "sha256:2")]
    assert session.add(prints[0], versions[0], CLEAN) == Finding()
    assert session.add(prints[1], versions[1], CLEAN) == Finding()
    assert session.add(prints[2], class_of_version(9, "sha256:2"), CLEAN).anchor == 7
    assert session.add(prints[2], class_of_version(9, "sha256:1"), CLEAN).anchor == 4


def test_frames_of_a_camera_are_no_search_and_no_extraction() -> None:
    draw = np.random.default_rng(3)
    scenes = np.repeat(rows(draw, 20), 30, axis=0)
    frames = np.clip(scenes + draw.normal(0, 0.02, scenes.shape), 0, 1).astype(np.float32)
    session, adversarial = CallerSession(), image_payoff("adversarial", 1)
    payoffs = [adversarial * (at % 30 > 0) for at in range(len(frames))]
    prints = PRINTER.of(frames, 0, 1, alike=True)
    found = [session.add(each, 0, payoff) for each, payoff in zip(prints, payoffs, strict=True)]
    assert sum(each.anchor is not None for each in found) >= 0.9 * len(found)
    assert not any(each.search or each.extraction for each in found)


def test_images_that_are_nearly_all_adversarial_are_a_search() -> None:
    draw = np.random.default_rng(3)
    prints = PRINTER.of(rows(draw, 100), 0, 1, alike=True)
    for share, searched in ((0.95, True), (0.3, False)):
        session = CallerSession()
        payoffs = image_payoff("adversarial", 1) * (draw.random(100) < share)
        found = [session.add(*each).search for each in zip(prints, [0] * 100, payoffs, strict=True)]
        assert any(found) is searched


def test_without_levels_close_rows_say_nothing() -> None:
    """Of a table's honest rows most lie so close to another."""
    one, other = PRINTER.of(close(np.random.default_rng(3), 2), 0, 1, alike=False)
    session = CallerSession()
    assert [session.add(one, 4, CLEAN), session.add(other, 7, CLEAN)] == [Finding()] * 2


def test_texts_that_share_much_may_be_answered_otherwise() -> None:
    words = " ".join(f"word{n}" for n in range(60))
    texts = np.array([words.encode(), words.replace("word30", "x").encode()], object)
    session = CallerSession()
    found = [session.add(each, n, CLEAN) for n, each in enumerate(PRINTER.of(texts, 0, 1))]
    assert found == [Finding()] * 2


def test_a_model_whose_rows_get_levels_begins_anew() -> None:
    draw = np.random.default_rng(3)
    session = CallerSession()
    assert play(session, rows(draw, 2)) == (0, 0)
    assert play(session, rows(draw, 2), alike=True) == (0, 0)
    one, other = PRINTER.of(close(draw, 2), 0, 1, alike=True)
    assert [session.add(one, 4, CLEAN).anchor, session.add(other, 7, CLEAN).anchor] == [None, 4]


def test_an_honest_session_of_images_stays_quiet() -> None:
    draw = np.random.default_rng(3)
    session = CallerSession()
    prints = PRINTER.of(rows(draw, 2 * REMEMBERED), 0, 1, alike=True)
    found = [session.add(each, n % 10, CLEAN) for n, each in enumerate(prints)]
    assert not any(each.search or each.extraction for each in found)


def test_steps_of_one_size_are_an_extraction() -> None:
    draw = np.random.default_rng(3)
    seeds = rows(draw, 150)
    session = CallerSession()
    assert play(session, seeds) == (0, 0)
    moved = seeds + 0.05 * np.sign(draw.normal(0, 1, seeds.shape))
    assert play(session, np.clip(moved, 0, 1).astype(np.float32))[1] >= 1


def test_the_statistic_is_near_one_for_a_normal_sample_alone() -> None:
    draw = np.random.default_rng(3)
    assert normality(draw.normal(5, 2, 300)) > 0.97
    two = np.concatenate([draw.normal(1, 0.02, 150), draw.normal(3, 0.02, 150)])
    assert normality(two) < NORMAL
    assert normality(np.ones(50)) == 0
