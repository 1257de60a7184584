"""The check inside an audit pack accepts allowances, which a person signs."""

import subprocess
from importlib.resources import files
from pathlib import Path

from sealgate.trust.statements import sign_statement
from tests.support.builders.documents.allowances import an_allowance
from tests.support.builders.documents.people import key, make_policy, sign_policy
from tests.support.oracles import programs


def checked(folder: Path) -> subprocess.CompletedProcess[str]:
    python = programs.python_with("securesystemslib")
    program = str(files("sealgate.pack") / "check" / "envelopes.py")
    return subprocess.run(
        [python, program], cwd=folder, capture_output=True, text=True, timeout=280
    )


def test_an_allowance_is_signed_by_the_person_who_allowed(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "1.dsse.json").write_bytes(sign_policy(make_policy()).encode())
    place = tmp_path / "models" / "digits" / "allowances"
    place.mkdir(parents=True)
    (place / "one.dsse.json").write_bytes(sign_statement(an_allowance(), key("anna")).encode())
    found = checked(tmp_path)
    assert found.returncode == 0, found.stderr
    assert "signed by anna  the scan is genuine" in found.stdout
    (place / "two.dsse.json").write_bytes(sign_statement(an_allowance(), key("arne")).encode())
    assert "not verified" in checked(tmp_path).stderr
