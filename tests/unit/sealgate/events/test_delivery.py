"""Pauses between attempts."""

import pytest

from sealgate.events.config import DeliverySettings
from sealgate.events.delivery import pause_after

SETTINGS = DeliverySettings(first_pause=1.0, longest_pause=600.0)


@pytest.mark.parametrize(
    ("failures", "longest"),
    [(0, 1.0), (1, 2.0), (2, 4.0), (9, 512.0), (10, 600.0), (10_000, 600.0)],
)
def test_pauses_double_up_to_a_limit_and_are_shortened_by_up_to_a_half(failures, longest):
    assert pause_after(SETTINGS, failures, lambda: 0.0) == longest / 2
    assert pause_after(SETTINGS, failures, lambda: 0.5) == longest * 0.75
    assert longest / 2 <= pause_after(SETTINGS, failures) <= longest
