"""The keeper of features: it writes in a thread of its own, and nobody waits for it."""

from datetime import UTC, datetime

import numpy as np
import pytest

from gateway.config.optional_sections import FeatureSettings
from gateway.screening.features import FeatureKeeper
from inference.screening.traffic import TrafficFolder
from sealgate.settings import ConfigError

DIGEST = "sha256:" + "1" * 64
NOW = datetime(2026, 11, 25, tzinfo=UTC)


def test_what_was_taken_is_written_before_it_ends(tmp_path) -> None:
    keeper = FeatureKeeper(FeatureSettings(tmp_path, rows_a_day=8), lambda: NOW)
    keeper.start()
    for number in range(10):
        keeper.keep(DIGEST, np.full((1, 3), number))
    keeper.stop()
    found = TrafficFolder(tmp_path, 30, 8).read(DIGEST, 3, NOW.date())
    assert found[:, 0].tolist() == list(range(8))
    assert keeper.dropped == 2


def test_without_a_folder_nothing_is_kept(tmp_path) -> None:
    keeper = FeatureKeeper(FeatureSettings(), lambda: NOW)
    keeper.start()
    keeper.keep(DIGEST, np.zeros((1, 3)))
    keeper.stop()
    assert not list(tmp_path.iterdir())


def test_what_comes_to_a_full_queue_is_left_out(tmp_path) -> None:
    keeper = FeatureKeeper(FeatureSettings(tmp_path), lambda: NOW)
    for _ in range(1030):
        keeper.keep(DIGEST, np.zeros((1, 3)))
    assert keeper.dropped == 6


def test_settings_that_keep_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="positive"):
        FeatureSettings(days=0)
