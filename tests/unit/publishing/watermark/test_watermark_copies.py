"""Marks of recipients: who is named, of how many that joined, and who never is."""

from pathlib import Path

import numpy as np
import pytest

from publishing.watermark.detection import MarkDetection, read_code
from publishing.watermark.identification import (
    FALSE_ACCUSATION,
    CopyRecord,
    accused,
    accusing,
    colluders_named,
    copy_path,
    kept_copies,
    save_copy,
    spread_copy,
)
from publishing.watermark.key import WatermarkCode, WatermarkKey
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import sha256
from tests.support.builders.marked import KEY, Floats, marked, network, weights

PARENT = sha256(b"version")
NAMES = [f"recipient-{n}" for n in range(40)]
COPIES = [CopyRecord("digits", name, PARENT, sha256(name.encode())) for name in NAMES]
# Two more matrices, so that there are weights enough for five colluders.
LARGE = {f"{name}-{n}": values for n in range(3) for name, values in network(n).items()}
MARKED, RECORD = marked(LARGE)


def copy_of(name: str) -> dict[str, Floats]:
    hosts = list(MARKED.values())
    spreading = spread_copy(hosts, KEY.recipient(PARENT, name))
    return dict(zip(MARKED, spreading.apply(hosts), strict=True))


def mean(names: list[str]) -> dict[str, Floats]:
    copies = [copy_of(name) for name in names]
    return {key: np.mean([copy[key] for copy in copies], axis=0) for key in MARKED}


def named(found: dict[str, Floats]) -> list[str]:
    def read(code: WatermarkCode, tries: int) -> MarkDetection:
        return read_code(weights(found), code, RECORD.slots, tries)

    return [each.record.recipient for each in accused(read, KEY, COPIES)]


def test_a_copy_names_its_recipient_and_no_other() -> None:
    copy = copy_of("recipient-7")
    assert named(copy) == ["recipient-7"]
    assert read_code(weights(copy), RECORD.code, RECORD.slots).bit_errors == 0


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_of_copies_that_are_averaged_at_least_one_is_named(count: int) -> None:
    joined = NAMES[:count]
    found = named(mean(joined))
    assert found
    assert set(found) <= set(joined)


def test_copies_patched_together_name_their_recipients() -> None:
    copies = [copy_of(name) for name in NAMES[:2]]
    patched = {key: copies[n % 2][key] for n, key in enumerate(MARKED)}
    assert set(named(patched)) == set(NAMES[:2])


def test_the_version_itself_names_nobody() -> None:
    assert named(MARKED) == []


def test_the_threshold_pays_for_all_that_are_tried() -> None:
    for count in (1, 1000):
        bound = count * np.exp(-(accusing(count) ** 2) / 2)
        assert bound == pytest.approx(FALSE_ACCUSATION)
    assert colluders_named(40) == 5
    assert colluders_named(16) == 2
    assert colluders_named(3) == 0


def test_too_few_weights_name_nobody() -> None:
    hosts = [np.random.default_rng(0).standard_normal((40, 60)).astype(np.float32)]
    with pytest.raises(SealgateError) as refused:
        spread_copy(hosts, KEY.recipient(PARENT, "north"))
    assert refused.value.reason is Reason.WATERMARK_CAPACITY


def test_who_got_what_is_kept(tmp_path: Path) -> None:
    for copy in COPIES[:3]:
        save_copy(tmp_path, copy)
    assert copy_path(tmp_path, COPIES[0]).stat().st_mode & 0o777 == 0o600
    assert set(kept_copies(tmp_path, "digits", PARENT)) == set(COPIES[:3])
    assert kept_copies(tmp_path, "digits", sha256(b"another")) == ()
    with pytest.raises(SealgateError) as refused:
        save_copy(tmp_path, COPIES[0])
    assert refused.value.reason is Reason.KEY_FILE_EXISTS


def test_a_recipient_s_key_opened_tells_nothing_of_another_s() -> None:
    code = KEY.recipient(PARENT, "north")
    rebuilt = WatermarkKey("digits", code.secret).recipient(PARENT, "south")
    assert rebuilt.secret != KEY.recipient(PARENT, "south").secret
