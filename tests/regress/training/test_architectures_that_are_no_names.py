"""A checkpoint whose configuration names an object for its architecture ended the import with a
stack trace instead of a refusal.
"""

from pathlib import Path

import pytest

from sealgate.reasons import Reason
from tests.support.people import refused
from training import checkpoints, families


@pytest.mark.parametrize("named", [[{}], [["x"]], [], None, {"0": "x"}])
def test_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: object) -> None:
    monkeypatch.setattr(checkpoints, "read_config", lambda _: {"architectures": named})
    with refused(Reason.CHECKPOINT_REFUSED):
        families.family(tmp_path)
