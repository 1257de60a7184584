"""What longer texts add to a threshold."""

import pytest

from inference.text.length_margin import LengthMargin


@pytest.mark.parametrize(
    ("windows", "raised"),
    [(0, 0), (1, 0), (2, 40), (3, 40), (4, -5), (15, -5), (16, 210), (999, 210)],
)
def test_a_text_adds_what_the_step_says_that_it_has_reached(windows: int, raised: int) -> None:
    assert LengthMargin(steps={16: 210, 2: 40, 4: -5}).at(windows) == raised


@pytest.mark.parametrize(("windows", "raised"), [(1, 0), (2, 30), (8, 90), (128, 210), (999, 210)])
def test_growth_adds_the_same_for_each_doubling_up_to_a_most(windows: int, raised: int) -> None:
    assert LengthMargin(30).at(windows) == raised


def test_without_either_all_lengths_are_alike() -> None:
    assert LengthMargin().at(100) == 0
