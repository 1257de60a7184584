"""`make client-wheel`: the wheel of `sealgate` alone, in an environment that holds nothing else."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from sealgate.trust.receipts import Receipt, verify_receipt
from tests.support.harness.gateway import ROOT, labels, rows
from tests.support.oracles.programs import run

# Installing takes numpy, grpcio and cryptography from the index, as the tests' own install did.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def pip(python: Path | str, *words: str | Path) -> None:
    command = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode and "No matching distribution" in done.stderr and not os.environ.get("CI"):
        pytest.skip("no package index is in reach")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Path:
    """An environment with the client's wheel and what it depends on."""
    home = tmp_path_factory.mktemp("client-wheel")
    pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", home, ROOT / "clients" / "python")
    (wheel,) = home.glob("sealgate_client-*.whl")
    venv.create(home / "venv", with_pip=True)
    pip(home / "venv" / "bin" / "python", "install", wheel)
    return home / "venv"


def test_numpy_in_and_a_verified_receipt_out(harness, environment):
    profile = harness.profile("client")
    told = {
        "url": f"https://{profile.endpoint}",
        "root_keys": [path.read_text() for path in profile.root_keys],
        "root_threshold": profile.root_threshold,
        "authority": profile.server_authority.read_text(),
        "token": profile.token.read_text().strip(),
        "rows": rows(count=8).tolist(),
    }
    # -I: nothing of this repository is on its path.
    script = Path(__file__).with_name("ask.py")
    done = run([environment / "bin" / "python", "-I", script], json.dumps(told))
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    expected = labels(count=8)
    assert sum(a == b for a, b in zip(seen["classes"], expected, strict=True)) >= 7
    assert seen["outcome"] == "answered"
    assert Path(seen["sealgate"]).is_relative_to(environment)
    assert seen["servers"] == []
    verify_receipt(Receipt.decode(seen["receipt"].encode()), harness.governance("client").policy())


def test_the_command_line_comes_with_it(harness, environment, tmp_path):
    command = [environment / "bin" / "sealgate", "--state", harness.state]
    version = run([*command, "--version"])
    assert version.returncode == 0, version.stderr
    assert "version" in version.stdout
    (tmp_path / "rows.csv").write_text(",".join(map(str, rows()[0].tolist())))
    asked = run([*command, "infer", "digits", "--input", tmp_path / "rows.csv", "--json"])
    assert asked.returncode == 0, asked.stderr
    assert len(json.loads(asked.stdout)) == 1
