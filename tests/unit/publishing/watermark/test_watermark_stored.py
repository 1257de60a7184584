"""A mark in weights of which a file keeps fewer bits than the mark moves."""

import numpy as np

from publishing.watermark.embedding import TARGET, EmbeddingStrength, spread_mark
from publishing.watermark.key import Mark, WatermarkKey
from publishing.watermark.pairing import Floats, PairedWeight, numbered, whiten
from publishing.watermark.reading import detection_of
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
