"""Two cases of `make drill`, end to end: an engine that is killed, and a disk that is full."""

import pytest

from demo.drill.play import play
from demo.drill.timing import CaseResult


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[CaseResult]:
    return list(play(tmp_path_factory.mktemp("drill") / "state", ("engine", "disk")))


@pytest.mark.long
def test_each_case_is_detected_ended_and_explained(results: list[CaseResult]) -> None:
    assert [item.case for item in results] == ["dead engine", "full disk"]
    assert all(item.held for item in results), results
    assert all(item.answers > 0 and item.refused > 0 for item in results), results


@pytest.mark.long
def test_each_has_the_explanation_of_an_auditor(results: list[CaseResult]) -> None:
    commands = [item.explained_by for item in results]
    assert commands == ["sealgate audit find", "sealgate audit verify"]
