"""The Makefile."""

import re
from pathlib import Path

MAKEFILE = (Path(__file__).parents[3] / "Makefile").read_text()


def test_each_phony_target_has_a_rule() -> None:
    named = [
        name for line in re.findall(r"^\.PHONY:(.*)$", MAKEFILE, re.M) for name in line.split()
    ]
    ruled = {
        name for line in re.findall(r"^([a-z][a-z -]*):", MAKEFILE, re.M) for name in line.split()
    }
    assert len(named) > 20
    assert not set(named) - ruled
