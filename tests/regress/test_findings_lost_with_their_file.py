"""Where `sealgate health --textfile` could not write its file, a full disk, what it had found was
told to nobody: no table, and the exit status 2, which says that nothing that was asked is wrong.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sealgate.checkup.finding import Finding, State
from sealgate.cli import health as command
from sealgate.cli.main import main


@pytest.mark.parametrize(("state", "status"), [(State.WRONG, 1), (State.WELL, 2)])
def test_what_was_found_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: State, status: int
) -> None:
    found: Any = [Finding("golden", "m/production", state, "as it came out")]
    monkeypatch.setattr(command, "profile", lambda *_: None)
    monkeypatch.setattr(command, "check", lambda *_: [*found])
    file = tmp_path / "gone" / "sealgate.prom"
    result = CliRunner().invoke(main, ["health", "--json", "--textfile", str(file)])
    told = json.loads(result.output)
    assert result.exit_code == told["status"] == status
    assert [each["detail"] for each in told["findings"]] == [
        "as it came out",
        "cannot be written: No such file or directory",
    ]
