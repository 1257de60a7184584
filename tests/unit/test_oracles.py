"""A missing oracle: named on a user's machine, an error in CI, unless it is one of a short list."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.oracles import programs

ABSENT = "sealgate-no-such-oracle"
LOOKS: dict[str, Callable[[], object]] = {
    "program": lambda: programs.program(ABSENT),
    "python": lambda: programs.python_with(ABSENT),
    "own-python": lambda: programs.own_python_with(ABSENT),
    "package": lambda: programs.package(ABSENT),
    "go-package": lambda: programs.go_package(ABSENT),
    "header": lambda: programs.header(Path(f"/usr/include/{ABSENT}.h")),
}


def outcome(look: Callable[[], object]) -> tuple[str, str]:
    try:
        look()
    except (pytest.skip.Exception, pytest.fail.Exception) as outcome:
        return type(outcome).__name__, str(outcome)
    return "found", ""


@pytest.fixture(params=sorted(LOOKS))
def look(request: pytest.FixtureRequest) -> Callable[[], object]:
    return LOOKS[request.param]


def test_in_ci_it_fails(monkeypatch: pytest.MonkeyPatch, look: Callable[[], object]) -> None:
    monkeypatch.setenv("CI", "true")
    kind, told = outcome(look)
    assert kind == "Failed"
    assert ABSENT in told


def test_elsewhere_the_summary_names_it(
    monkeypatch: pytest.MonkeyPatch, look: Callable[[], object]
) -> None:
    monkeypatch.delenv("CI", raising=False)
    kind, told = outcome(look)
    assert kind == "Skipped"
    assert ABSENT in told


def test_what_may_be_missing_is_skipped_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CI", "true")
    for name in ("kserve", "aics_witness", "openvino"):
        monkeypatch.setenv(f"SEALGATE_{name.upper()}_VENV", str(tmp_path))
        kind, told = outcome(lambda name=name: programs.own_python_with(name))
        assert kind == "Skipped"
        assert programs.MAY_BE_MISSING[name] in told


def test_an_installation_that_was_broken_off_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(programs, "ROOT", tmp_path)
    monkeypatch.delenv("CI", raising=False)
    home = tmp_path / ".venv-half"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "python").touch()
    (home / "lib" / "python3" / "site-packages" / "half").mkdir(parents=True)
    assert outcome(lambda: programs.own_python_with("half"))[0] == "Skipped"
    (home / "ready").touch()
    assert outcome(lambda: programs.own_python_with("half"))[0] == "found"
