"""The finding on a file after all marks of a folder have been tried."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from publishing.watermark.identification import find_mark
from publishing.watermark.key import save_watermark_key
from publishing.watermark.mark_records import key_path, mark_path, save_mark
from tests.support.builders.marked import KEY, mark, marked, network, weights


def test_an_unmarked_file_of_our_shapes_is_not_said_to_have_others(tmp_path: Path) -> None:
    narrow = {
        "a": np.random.default_rng(0).standard_normal((150, 130)).astype(np.float32),
    }
    save_watermark_key(key_path(tmp_path, "digits"), KEY)
    for place, given in enumerate((narrow, network())):
        _, record = marked(given, mark(bytes([place, 2, 3, 4])))
        save_mark(mark_path(tmp_path, record.mark), replace(record, entry=place))
    found = find_mark(weights(network()), tmp_path, None)
    assert found is not None
    assert not found.detection.found
    assert found.detection.weights == sum(w.size for w in network().values())
