"""The workflows keep between runs what `.ci/run` keeps between the runs of one machine."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
RUN = (ROOT / ".ci/run").read_text()
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


@pytest.mark.parametrize(
    "path", [one for one in WORKFLOWS if "- run: .ci/run" in one.read_text()], ids=lambda p: p.stem
)
def test_a_workflow_caches_what_the_ci_run_keeps(path: Path) -> None:
    workflow = path.read_text()
    (folder,) = re.findall(r"^ +XDG_CACHE_HOME: (\S+)$", workflow, re.M)
    (kept,) = re.findall(r"^kept=\$\{XDG_CACHE_HOME:-.*\}(/[\w-]+)$", RUN, re.M)
    (cache, run) = (workflow.index(each) for each in ("actions/cache@", "- run: .ci/run"))
    assert re.findall(r"^ +path: (\S+)$", workflow, re.M) == [folder + kept]
    assert cache < run


def test_several_workflows_run_the_ci() -> None:
    assert sum("- run: .ci/run" in path.read_text() for path in WORKFLOWS) == 2


def test_the_run_plays_the_demo_beside_the_tests() -> None:
    assert "make --jobs=4 check played\n" in RUN
    (recipe,) = re.findall(r"^played: .*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.M)
    assert "-m demo --in-build" in recipe
