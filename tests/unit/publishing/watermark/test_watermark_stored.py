"""A mark in weights of which a file keeps fewer bits than the mark moves."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from publishing.watermark.correlation import Floats, PairedWeight, numbered, whiten
from publishing.watermark.detection import detection_of
from publishing.watermark.graph_marking import TARGET, EmbeddingStrength, spread_mark
from publishing.watermark.key import Mark, WatermarkKey
from sealgate.trust.canonical import sha256

MARK = Mark(WatermarkKey("digits", bytes(range(32))), b"\1\2\3\4", sha256(b"x"))


def coarse(_: int, values: Floats) -> Floats:
    """Steps of an eighth of a spread: half of one is more than a mark of these weights needs."""
    return np.round(values * 8) / np.float32(8)


def read(hosts: list[Floats], spreading: EmbeddingStrength) -> float:
    kept = [coarse(0, marked) for marked in spreading.apply(hosts)]
    places = numbered(host.shape for host in hosts)
    paired = (PairedWeight(whiten(k), *place) for k, place in zip(kept, places, strict=True))
    return detection_of(paired, spreading.code, 0.0).z


def test_what_rounding_takes_away_is_made_up_for() -> None:
    rng = np.random.default_rng(1)
    hosts = [coarse(0, rng.normal(size=(320, 256)).astype(np.float32))]
    heedless = spread_mark(hosts, MARK)
    careful = spread_mark(hosts, MARK, stored=coarse)
    assert read(hosts, heedless) < TARGET / 2
    assert read(hosts, careful) >= TARGET


class CountedHosts(Sequence[Floats]):
    """Weights that count how often one is read."""

    def __init__(self, hosts: Sequence[Floats]) -> None:
        self._hosts = hosts
        self.reads = 0

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        return [host.shape for host in self._hosts]

    def __len__(self) -> int:
        return len(self._hosts)

    def __getitem__(self, place: Any) -> Any:
        self.reads += place < len(self._hosts)
        return self._hosts[place]


def test_weights_are_read_once_to_begin_with_and_once_for_each_of_two_rounds() -> None:
    rng = np.random.default_rng(2)
    hosts = [rng.standard_t(5, (300, 448)).astype(np.float32) for _ in range(6)]
    counted = CountedHosts(hosts)
    found = spread_mark(counted, MARK)
    assert found.code.bits
    assert counted.reads <= 3 * len(hosts)
    assert np.array_equal(found.amplitudes, spread_mark(hosts, MARK).amplitudes)
