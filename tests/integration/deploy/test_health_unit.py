"""The health check's unit and timer, checked by systemd-analyze; nothing runs them here."""

import shlex
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from sealgate.cli.main import main
from tests.integration.deploy.test_units import MOST_EXPOSED
from tests.support.harness.gateway import ROOT
from tests.support.oracles.programs import program, run

UNITS = ROOT / "deploy" / "systemd"
SERVICE, TIMER = UNITS / "sealgate-health.service", UNITS / "sealgate-health.timer"


def verify(folder: Path, change: tuple[str, str] = ("", "")) -> str:
    """Return the output of systemd-analyze on both units, with a program that exists here."""
    made = [folder / unit.name for unit in (SERVICE, TIMER)]
    for unit, path in zip((SERVICE, TIMER), made, strict=True):
        text = unit.read_text().replace("/opt/sealgate/bin/sealgate", sys.executable)
        path.write_text(text.replace(*change))
    done = run([program("systemd-analyze"), "verify", "--man=no", *made])
    said = [line for line in done.stderr.splitlines() if str(folder) in line or "sealgate" in line]
    return "\n".join(said)


def test_systemd_takes_them(tmp_path: Path) -> None:
    assert verify(tmp_path) == ""


@pytest.mark.parametrize("wrong", [("MemoryMax", "MemoryMaximum"), ("OnBootSec", "OnBoot")])
def test_systemd_would_say_so(tmp_path: Path, wrong: tuple[str, str]) -> None:
    assert wrong[1] in verify(tmp_path, wrong)


def test_little_of_the_machine_is_exposed() -> None:
    command = [program("systemd-analyze"), "security", "--offline=true"]
    done = run([*command, f"--threshold={MOST_EXPOSED}", SERVICE])
    assert done.returncode == 0, done.stdout


def test_its_command_is_one_that_there_is() -> None:
    (line,) = [text for text in SERVICE.read_text().splitlines() if text.startswith("ExecStart=")]
    words = shlex.split(line.partition("=")[2])
    assert words[0] == "/opt/sealgate/bin/sealgate"
    # Its profile is not here; that is all that it has to say.
    done = CliRunner().invoke(main, words[1:])
    assert done.exit_code == 2
    assert "cannot read /etc/sealgate-health/profile.toml" in done.output
