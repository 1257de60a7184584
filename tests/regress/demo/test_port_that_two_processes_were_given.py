"""Two processes that looked for free ports could find the same pair: each found it free before the
other listened there, or while the other's gateway was stopped. gRPC lets both listen, and callers
of one reached the other.
"""

import subprocess
import sys

import pytest

from demo.stage import free_ports
from tests.support.house import ROOT

# Looks from the given port on.
_OTHER = """
import sys
from demo import stage
stage._pairs = iter(range(int(sys.argv[1]), 65535, 2))
print(stage.free_ports())
"""


def other(start: int) -> int:
    command = [sys.executable, "-c", _OTHER, str(start)]
    return int(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="nothing tells of it elsewhere")
def test_is_given_to_one() -> None:
    mine = free_ports()
    assert other(mine) != mine
